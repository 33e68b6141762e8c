"""Following output over HTTP: nothing lost, nothing repeated, whatever is restarted or slow."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agent_manager.nats_access.client import AccessClient
from agent_manager.protocol import operations
from agent_manager.protocol.errors import ErrorBody, ErrorCode
from agent_manager.protocol.messages import LogLines
from management_api import log_follower
from management_api.log_inbox import LogInbox
from tests.harness.fake_manager import FakeManager, answering
from tests.harness.live_api import LiveApi, running_api
from tests.harness.log_node import LogNode, log_node
from tests.harness.nats_server import NatsHarness, settle
from tests.harness.sse import Reader, Sent, reading
from tests.harness.waiting import eventually

LOGS = "/agents/echo/logs"
NONSENSE: list[dict[str, Any]] = [
    {"end": 0},
    {"end": 10**18},
    {"start": 10**400, "end": 10**400},
    {"instance_id": "x", "start": 0, "end": 3},
]
"""What is changed of a piece of output so that it is none."""


@pytest.fixture
async def node(tmp_path: Path, nats: NatsHarness, manager: FakeManager) -> AsyncIterator[LogNode]:
    async with log_node(tmp_path / "logs", manager, await nats.connect_as_manager()) as made:
        yield made


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_follower, "RENEW_S", 0.5)
    monkeypatch.setattr(log_follower, "LOOK_S", 0.1)
    monkeypatch.setattr(log_follower, "RETRY_S", 0.02)


async def lines(reader: Reader, count: int) -> list[str]:
    """The next lines, at least so many."""
    found: list[str] = []
    while len(found) < count:
        event = await reader.next()
        assert event.event == "lines", event
        found.extend(event.data["lines"])
    return found


def numbers(first: int, last: int) -> list[str]:
    return [f"line {number}" for number in range(first, last)]


async def test_the_last_lines_come_first_then_what_is_written(api: LiveApi, node: LogNode) -> None:
    node.write("one", "two", "three")
    async with reading(api.http, LOGS, follow="true", tail=2) as reader:
        assert await reader.next() == Sent(
            "0:14:0",
            "lines",
            {
                "instance_id": "echo_0",
                "stream": "out",
                "start": 4,
                "end": 14,
                "lines": ["two", "three"],
                "unfinished": False,
            },
        )
        node.write("four")
        node.write("bad", to="echo_0.err")
        events = [await reader.next(), await reader.next()]
    assert sorted((event.data["stream"], event.data["lines"]) for event in events) == [
        ("err", ["bad"]),
        ("out", ["four"]),
    ]
    assert events[-1].id == "0:19:4"


async def test_a_stream_is_resumed_where_it_ended_even_if_it_had_told_nothing(api: LiveApi, node: LogNode) -> None:
    node.write("old")
    async with reading(api.http, LOGS, follow="true", tail=1) as reader:
        assert await lines(reader, 1) == ["old"]
    node.write(*numbers(0, 3))
    async with reading(api.http, LOGS, reader.last_id, follow="true") as reader:
        assert await lines(reader, 3) == numbers(0, 3)
    node.show("echo_0", "echo_1")
    async with reading(api.http, LOGS, reader.last_id, follow="true", instance_id="echo_1") as silent:
        assert (await silent.until_marked()).endswith("1:0:0")
    node.write("new", to="echo_1.out")
    async with reading(api.http, LOGS, silent.last_id, follow="true", instance_id="echo_1") as reader:
        assert await lines(reader, 1) == ["new"]


async def test_several_instances_share_a_stream_and_those_that_come_later_are_told_whole(
    api: LiveApi, node: LogNode
) -> None:
    node.show("echo_0", "echo_1")
    node.write("a")
    node.write("b", to="echo_1.out")
    async with reading(api.http, LOGS, follow="true") as reader:
        assert await lines(reader, 2) == ["a", "b"]
        node.write("first words", "second", to="echo_2.out")
        node.show("echo_0", "echo_1", "echo_2")
        assert await lines(reader, 2) == ["first words", "second"]
    assert reader.last_id == "0:2:0,1:2:0,2:19:0"


async def test_rotation_loses_nothing_while_the_rotated_file_is_there(api: LiveApi, node: LogNode) -> None:
    async with reading(api.http, LOGS, follow="true") as reader:
        await reader.until_marked()
        for number in range(300):
            node.write(f"line {number}", max_bytes=400, files=20)
            if number % 50 == 0:
                await asyncio.sleep(0)
        assert await lines(reader, 300) == numbers(0, 300)


async def test_what_is_gone_is_told_with_its_bytes(api: LiveApi, node: LogNode) -> None:
    node.write("0123456", max_bytes=8, files=2)
    async with reading(api.http, LOGS, follow="true") as reader:
        assert await lines(reader, 1) == ["0123456"]
    for number in range(4):
        node.write(f"number{number}", max_bytes=8, files=2)
    async with reading(api.http, LOGS, reader.last_id, follow="true") as reader:
        gap = await reader.next()
        assert (gap.event, gap.data) == ("gap", {"instance_id": "echo_0", "stream": "out", "bytes": 16})
        assert await lines(reader, 2) == ["number2", "number3"]


async def test_a_restart_of_the_manager_the_bus_or_the_api_loses_and_repeats_nothing(
    nats: NatsHarness, node: LogNode, manager: FakeManager
) -> None:
    got: list[str] = []
    async with (
        running_api(nats, service={"request_timeout_s": 2.0}) as api,
        reading(api.http, LOGS, follow="true") as reader,
    ):
        await reader.until_marked()
        node.write(*numbers(0, 10))
        got += await lines(reader, 10)
        node.restart_manager()
        node.write(*numbers(10, 20))
        got += await lines(reader, 10)
        await nats.kill()
        node.write(*numbers(20, 30))
        await nats.start()
        got += await lines(reader, 10)
        node.write(*numbers(30, 40))
        got += await lines(reader, 10)
        node.write(*numbers(40, 50))
        api.stop()
        for event in await reader.rest():
            got += event.data["lines"]
    node.write(*numbers(50, 60))
    async with running_api(nats) as api, reading(api.http, LOGS, reader.last_id, follow="true") as again:
        got += await lines(again, 60 - len(got))
    assert got == numbers(0, 60)


async def test_while_there_is_no_manager_the_stream_waits(nats: NatsHarness, tmp_path: Path) -> None:
    connection = await nats.connect_as_manager()
    away = ErrorBody(code=ErrorCode.UNAVAILABLE, message="the store is away", retryable=True)
    async with (
        running_api(nats) as api,
        answering(connection) as manager,
        log_node(tmp_path / "logs", manager, connection) as node,
        reading(api.http, LOGS, follow="true") as reader,
    ):
        await reader.until_marked()
        manager.refuse(operations.AGENTS_STATUS, away)
        node.restart_manager()
        node.write("meanwhile")
        asked = len(manager.received)
        await eventually(lambda: len(manager.received) > asked + 2)
        node.show("echo_0")
        assert await lines(reader, 1) == ["meanwhile"]


async def test_a_reader_that_does_not_read_holds_up_nobody_and_is_told_everything_in_the_end(
    nats: NatsHarness, node: LogNode
) -> None:
    text = "x" * 1_000
    async with running_api(nats, streams={"backlog_bytes": 10_000}) as api:
        with closing(socket.socket()) as idle:
            idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            idle.connect(("127.0.0.1", api.port))
            idle.sendall(b"GET /api/v1/agents/echo/logs?follow=true HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await eventually(lambda: "echo_0" in node.following.followed)
            async with reading(api.http, LOGS, follow="true") as quick:
                await quick.until_marked()
                for number in range(4_000):
                    node.write(f"{number} {text}", max_bytes=10_000_000)
                    if number % 100 == 0:
                        await asyncio.sleep(0)
                got = await lines(quick, 4_000)
                assert [line.split()[0] for line in got] == [str(number) for number in range(4_000)]
            idle.setblocking(False)
            received = b""
            loop = asyncio.get_running_loop()
            while b"3999 " not in received:
                received = received[-10_000:] + await loop.sock_recv(idle, 65_536)


async def test_a_burst_is_told_in_order_and_once(api: LiveApi, node: LogNode) -> None:
    async with reading(api.http, LOGS, follow="true") as reader:
        await reader.until_marked()

        async def burst() -> None:
            for number in range(0, 5_000, 10):
                node.write(*numbers(number, number + 10))
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as group:
            group.create_task(burst())
            got = await lines(reader, 5_000)
    assert got == numbers(0, 5_000)


async def test_what_is_no_output_of_the_instance_changes_nothing_for_its_readers(
    api: LiveApi, node: LogNode, nats: NatsHarness
) -> None:
    piece = LogLines(instance_id="echo_0", stream="out", start=6, end=9, lines=["no"])
    nonsense = [
        b"",
        b"\xff",
        b"{}",
        *(piece.model_copy(update=changes).model_dump_json().encode() for changes in NONSENSE),
    ]
    somebody = await nats.connect_as_manager()
    node.write("first")
    async with reading(api.http, LOGS, follow="true", tail=1) as reader:
        assert await lines(reader, 1) == ["first"]
        for body in nonsense:
            for subject in ("agent.log.echo_0.out", "agent.log.echo_0.both"):
                await somebody.publish(subject, body)
        await settle(somebody)
        node.write(*numbers(0, 3))
        assert await lines(reader, 3) == numbers(0, 3)
        assert reader.last_id == "0:27:0"


async def test_nobody_who_follows_costs_nothing(api: LiveApi, node: LogNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_follower, "LEASE_S", 0.3)
    async with reading(api.http, LOGS, follow="true") as reader:
        await reader.until_marked()
        assert node.following.followed == {"echo_0"}
    await eventually(lambda: not node.following.followed)


async def test_the_stream_ends_with_the_agent_when_asked_to(
    api: LiveApi, node: LogNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_follower, "STOPPED_S", 0.2)
    node.write("only line")
    async with reading(api.http, LOGS, follow="true", until_stopped="true") as reader:
        assert await lines(reader, 1) == ["only line"]
        node.write("last words")
        node.show("echo_0", status="stopped", pid=None)
        events = await reader.rest()
    assert [event.data["lines"] for event in events if event.event == "lines"] == [["last words"]]
    assert (events[-1].event, events[-1].data) == ("end", {"reason": "stopped"})


async def test_an_agent_that_is_removed_ends_the_stream(api: LiveApi, node: LogNode, manager: FakeManager) -> None:
    async with reading(api.http, LOGS, follow="true") as reader:
        await reader.until_marked()
        manager.refuse(operations.AGENTS_STATUS, ErrorBody(code=ErrorCode.NOT_FOUND, message="agent echo not found"))
        assert (await reader.next()).data == {"reason": "not_found"}


@pytest.mark.parametrize(
    ("params", "last_id", "status"),
    [({"instance_id": "echo_9"}, "", 404), ({}, "0:x:1", 400), ({}, "41", 400), ({"follow": "perhaps"}, "", 400)],
)
async def test_what_cannot_be_followed_is_refused(
    api: LiveApi, node: LogNode, params: dict[str, str], last_id: str, status: int
) -> None:
    headers = {"Last-Event-ID": last_id} if last_id else {}
    answer = await api.http.get(f"/api/v1{LOGS}", params={"follow": "true", **params}, headers=headers)
    assert answer.status_code == status, answer.text


async def test_a_reader_may_leave_while_the_connection_is_being_replaced(api: LiveApi) -> None:
    client = api.manager.check_connected()
    assert isinstance(client, AccessClient)
    inbox = LogInbox(limit_bytes=1_000)
    await inbox.listen(client, "echo_0")
    await client.withdraw()
    await inbox.listen(client, "echo_1")
    before = len(client._subs)
    await inbox.close()
    assert client.is_connected
    assert len(client._subs) == before - 1
