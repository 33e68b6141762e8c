"""The live feed: what is sent, to whom, and how it ends."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import httpx

from agent_manager.protocol import operations
from tests.harness.fake_manager import FakeManager, event
from tests.harness.live_api import LiveApi, running_api
from tests.harness.nats_server import NatsHarness
from tests.harness.waiting import eventually


@asynccontextmanager
async def following(api: LiveApi, query: str = "") -> AsyncIterator[AsyncIterator[str]]:
    """The lines of an event stream, after the first comment."""
    async with api.http.stream("GET", f"/api/v1/events{query}") as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert "content-length" not in answer.headers
        lines = answer.aiter_lines()
        assert await anext(lines) == ": connected"
        assert await anext(lines) == ""
        yield lines


async def test_an_event_is_sent_with_sequence_type_and_json(api: LiveApi, manager: FakeManager) -> None:
    happened = event(41, message="ready\nafter 3 ms", data={"pid": 7})
    async with following(api) as lines:
        await manager.announce(happened)
        assert [await anext(lines) for _ in range(2)] == ["id: 41", "event: running"]
        data = await anext(lines)
        assert json.loads(data.removeprefix("data: ")) == happened.model_dump(mode="json")
        assert await anext(lines) == ""


async def test_events_come_in_order(api: LiveApi, manager: FakeManager) -> None:
    async with following(api) as lines:
        for sequence in range(500):
            await manager.announce(event(sequence))
        got = [line async for line in taken(lines, 2_000)]
    assert [line for line in got if line.startswith("id:")] == [f"id: {sequence}" for sequence in range(500)]


async def taken(lines: AsyncIterator[str], count: int) -> AsyncIterator[str]:
    """The next `count` lines."""
    for _ in range(count):
        yield await anext(lines)


async def test_a_filter_lets_one_agent_through(api: LiveApi, manager: FakeManager) -> None:
    async with following(api, "?agent_id=echo") as lines:
        await manager.announce(event(1, "other"))
        await manager.announce(event(2, "echo"))
        assert await anext(lines) == "id: 2"


async def test_the_subject_decides_whose_event_it_is(api: LiveApi, manager: FakeManager) -> None:
    forged = event(2, "victim", type="stopped").model_dump_json().encode()
    async with following(api) as lines:
        await manager.announce(event(1, "echo"), body=forged)
        got = [line async for line in taken(lines, 3)]
    assert got[1] == "event: running"
    assert json.loads(got[2].removeprefix("data: "))["agent_id"] == "echo"


async def test_an_unreadable_event_is_passed_over(api: LiveApi, manager: FakeManager) -> None:
    async with following(api) as lines:
        await manager.announce(event(1), body=b"{")
        await manager.announce(event(2))
        assert await anext(lines) == "id: 2"


async def test_silence_is_filled_with_comments(nats: NatsHarness) -> None:
    async with running_api(nats, streams={"keep_alive_s": 0.02}) as api, following(api) as lines:
        assert [line async for line in taken(lines, 4)] == [": keep-alive", "", ": keep-alive", ""]


async def test_a_reader_that_leaves_is_forgotten(api: LiveApi) -> None:
    async with following(api):
        assert api.manager.feed.watchers == 1
    await eventually(lambda: api.manager.feed.watchers == 0)


async def test_a_reader_that_does_not_read_is_dropped(nats: NatsHarness, manager: FakeManager) -> None:
    big = event(1, message="x" * 200_000)
    async with running_api(nats, streams={"backlog_bytes": 400_000}) as api:
        with closing(socket.socket()) as idle:
            idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            idle.connect(("127.0.0.1", api.port))
            idle.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await eventually(lambda: api.manager.feed.watchers == 1)

            async def dropped() -> bool:
                await manager.announce(big)
                return api.manager.feed.watchers == 0

            await eventually(dropped)
            assert (await api.http.get("/readyz")).status_code == 200


async def test_a_stream_survives_a_restart_of_the_bus(nats: NatsHarness, manager: FakeManager, api: LiveApi) -> None:
    async with following(api) as lines:
        await nats.restart()
        await eventually(lambda: api.connected)

        async def announced() -> bool:
            await manager.announce(event(7))
            return True

        await eventually(announced)
        assert await anext(lines) == "id: 7"


async def test_stopping_ends_streams_and_answers_those_who_wait(api: LiveApi, manager: FakeManager) -> None:
    manager.ignore(operations.AGENTS_STOP)
    async with following(api) as lines, asyncio.TaskGroup() as group:
        waiting = group.create_task(api.http.post("/api/v1/agents/echo/stop?wait=300"))
        await eventually(lambda: manager.received)
        api.stop()
        assert [line async for line in lines] == []
    answer = waiting.result()
    assert answer.status_code == 503
    assert "shutting down" in answer.json()["detail"]


async def test_a_stream_opened_while_stopping_is_refused(api: LiveApi) -> None:
    api.manager.release()
    answer: httpx.Response = await api.http.get("/api/v1/events")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
