"""Who may start when many want to."""

from __future__ import annotations

import asyncio

import pytest

from agent_manager.services import start_gate
from agent_manager.services.start_gate import Rank, StartGate
from tests.harness.waiting import eventually


class Crowd:
    """Launches at a gate; `through` is who was let in, in order."""

    def __init__(self, at_once: int) -> None:
        self.gate = StartGate(at_once)
        self.through: list[str] = []
        self.tasks: dict[str, asyncio.Task[bool]] = {}

    async def comes(self, launch_id: str, rank: Rank = Rank.START) -> None:
        self.tasks[launch_id] = asyncio.create_task(self._enter(launch_id, rank))
        await asyncio.sleep(0)

    async def _enter(self, launch_id: str, rank: Rank) -> bool:
        let_in = await self.gate.enter(launch_id, rank)
        if let_in:
            self.through.append(launch_id)
        return let_in


async def test_so_many_come_up_at_once_and_the_next_when_one_is_up() -> None:
    crowd = Crowd(2)
    for name in "abcd":
        await crowd.comes(name)
    await eventually(lambda: crowd.through == ["a", "b"])
    crowd.gate.leave("b")
    await eventually(lambda: crowd.through == ["a", "b", "c"])
    crowd.gate.leave("a")
    await eventually(lambda: crowd.through == ["a", "b", "c", "d"])


async def test_what_has_crashed_comes_before_what_has_not_run_yet() -> None:
    crowd = Crowd(1)
    for name, rank in (("a", Rank.START), ("b", Rank.START), ("c", Rank.RESTART)):
        await crowd.comes(name, rank)
    crowd.gate.leave("a")
    await eventually(lambda: crowd.through == ["a", "c"])


async def test_who_is_withdrawn_is_told_so_and_takes_no_place() -> None:
    crowd = Crowd(1)
    for name in "abc":
        await crowd.comes(name)
    crowd.gate.withdraw("b")
    assert await crowd.tasks["b"] is False
    crowd.gate.leave("a")
    await eventually(lambda: crowd.through == ["a", "c"])


async def test_who_was_let_in_cannot_be_withdrawn_and_leaving_twice_is_leaving_once() -> None:
    crowd = Crowd(1)
    for name in "abc":
        await crowd.comes(name)
    crowd.gate.withdraw("a")
    assert await crowd.tasks["a"] is True
    crowd.gate.leave("a")
    crowd.gate.leave("a")
    crowd.gate.leave("unknown")
    await eventually(lambda: crowd.through == ["a", "b"])


async def test_a_launch_that_takes_long_to_come_up_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start_gate, "HOLD_S", 0.01)
    crowd = Crowd(1)
    for name in "ab":
        await crowd.comes(name)
    await eventually(lambda: crowd.through == ["a", "b"])
