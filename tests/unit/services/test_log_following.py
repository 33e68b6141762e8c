"""Live output: published while a lease lasts, from where the follower reads on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent_manager.adapters.logs import LogDirectory
from agent_manager.services import log_following
from agent_manager.services.log_following import PATIENCE_S, LogFollowing
from tests.harness.fakes import FakeClock, RecordingLogChannel, owned_tasks
from tests.harness.waiting import eventually


class Followed:
    """The output of `echo_0`, followed."""

    def __init__(self, directory: Path) -> None:
        self.out, self.err = directory / "echo_0.out.log", directory / "echo_0.err.log"
        self.clock, self.channel = FakeClock(), RecordingLogChannel()
        self.following = LogFollowing(logs=LogDirectory(directory), channel=self.channel, clock=self.clock)

    def write(self, data: bytes) -> None:
        with self.out.open("ab") as file:
            file.write(data)

    async def follow(self, tail: int = 0, lease_s: float = 15.0, **starts: int) -> list[str]:
        pieces = await self.following.follow("echo_0", starts=starts, tail=tail, lease_s=lease_s)
        return list(pieces["out"].lines)

    def said(self) -> list[str]:
        return self.channel.said("echo_0", "out")


@pytest.fixture
async def it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Followed]:
    monkeypatch.setattr(log_following, "POLL_S", 0.001)
    made = Followed(tmp_path)
    async with owned_tasks() as tasks:
        tasks.create_task(made.following.run())
        yield made


async def test_what_is_there_is_answered_and_what_follows_is_published(it: Followed) -> None:
    it.write(b"one\ntwo\n")
    assert await it.follow(tail=1) == ["two"]
    it.write(b"three\n")
    it.err.write_bytes(b"bad\n")
    await eventually(lambda: it.said() == ["three"])
    await eventually(lambda: it.channel.said("echo_0", "err") == ["bad"])
    assert [(piece.start, piece.end) for _, stream, piece in it.channel.pieces if stream == "out"] == [(8, 14)]


async def test_a_lease_that_is_not_renewed_ends_and_nothing_is_kept(it: Followed) -> None:
    await it.follow(lease_s=10)
    it.clock.advance(9)
    await it.follow(lease_s=10)
    it.clock.advance(9)
    it.write(b"still\n")
    await eventually(lambda: it.said() == ["still"])
    it.clock.advance(2)
    await eventually(lambda: not it.following.followed)
    it.write(b"nobody hears this\n")
    assert await it.follow(out=6) == ["nobody hears this"]
    it.write(b"again\n")
    await eventually(lambda: it.said() == ["still", "again"])


async def test_reading_without_a_lease_publishes_nothing(it: Followed) -> None:
    it.write(b"one\n")
    assert await it.follow(tail=5, lease_s=0) == ["one"]
    assert it.following.followed == frozenset()


async def test_the_beginning_of_a_line_is_published_when_its_end_does_not_come(it: Followed) -> None:
    await it.follow()
    it.write(b"name? ")

    async def published() -> bool:
        it.clock.advance(PATIENCE_S / 10)
        return it.said() == ["name? "]

    await eventually(published)
    it.write(b"Bob\n")
    await eventually(lambda: it.said() == ["name? ", "Bob"])
    assert [piece.unfinished for _, _, piece in it.channel.pieces] == [True, False]


async def test_while_the_bus_is_away_nothing_is_passed_over(it: Followed) -> None:
    await it.follow()
    it.channel.away = True
    it.write(b"one\n")
    await asyncio.sleep(0)
    it.channel.away = False
    it.write(b"two\n")
    await eventually(lambda: it.said() == ["one", "two"])


async def test_files_that_cannot_be_read_are_said_once_and_end_nothing(
    it: Followed, caplog: pytest.LogCaptureFixture
) -> None:
    await it.follow()
    it.out.mkdir()
    await eventually(lambda: [r.message for r in caplog.records] == ["log_not_followed"])
    it.out.rmdir()
    it.write(b"back\n")
    await eventually(lambda: it.said() == ["back"])
