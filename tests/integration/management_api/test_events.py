"""Events over HTTP: from where a reader was on, in order, each once, whatever is restarted or slow."""

from __future__ import annotations

import asyncio
import socket
from contextlib import closing
from typing import Any

import httpx
import pytest
from nats.aio.client import Client
from nats.js.api import Header

from agent_manager.adapters.nats.event_stream import JetStreamEvents
from agent_manager.protocol import operations, subjects
from agent_manager.protocol.messages import EventMessage
from management_api import event_follower, event_history
from tests.harness.fake_manager import LIMITS, FakeManager, event
from tests.harness.live_api import LiveApi, running_api
from tests.harness.nats_server import NatsHarness
from tests.harness.sse import Reader, Sent, reading
from tests.harness.waiting import eventually

EVENTS = "/events"


async def ids(reader: Reader, count: int) -> list[int]:
    """The ids of the next events."""
    return [int((await reader.next()).id) for _ in range(count)]


async def announce(manager: FakeManager, count: int, **changes: Any) -> None:
    for _ in range(count):
        await manager.announce(event(**changes))


async def test_an_event_is_sent_with_sequence_type_and_json(api: LiveApi, manager: FakeManager) -> None:
    async with reading(api.http, EVENTS) as reader:
        assert await reader.until_marked() == "0"
        happened = await manager.announce(event(message="ready\nafter 3 ms", data={"pid": 7}))
        assert await reader.next() == Sent("1", "running", happened.model_dump(mode="json"))


async def test_without_an_id_only_what_comes_is_sent_and_silence_can_be_resumed(
    api: LiveApi, manager: FakeManager
) -> None:
    await announce(manager, 3)
    async with reading(api.http, EVENTS) as reader:
        assert await reader.until_marked() == "3"
    await announce(manager, 2)
    async with reading(api.http, EVENTS, reader.last_id) as reader:
        assert await ids(reader, 2) == [4, 5]


async def test_a_burst_is_sent_in_order_and_once(api: LiveApi, manager: FakeManager) -> None:
    async with reading(api.http, EVENTS) as live, asyncio.TaskGroup() as group:
        await live.until_marked()
        group.create_task(announce(manager, 1_000))
        assert await ids(live, 400) == list(range(1, 401))
        async with reading(api.http, EVENTS, "7") as resumed:
            assert await ids(resumed, 993) == list(range(8, 1_001))
        assert await ids(live, 600) == list(range(401, 1_001))


async def test_a_long_history_is_read_page_by_page(
    api: LiveApi, manager: FakeManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_history, "PAGE", 7)
    await announce(manager, 50)
    async with reading(api.http, EVENTS, "3") as reader:
        assert await ids(reader, 47) == list(range(4, 51))
        await announce(manager, 1)
        assert await ids(reader, 1) == [51]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"agent_id": "echo"}, [1, 3, 5]),
        ({"type": "exited"}, [2, 3, 6]),
        ({"agent_id": "echo", "type": "exited"}, [3]),
        ({"agent_id": "nobody"}, []),
    ],
)
async def test_filters_hold_for_history_and_for_what_comes(
    api: LiveApi, manager: FakeManager, params: dict[str, str], expected: list[int]
) -> None:
    agents = ("echo", "other", "echo", "other", "echo", "other", "third")
    types = ("running", "exited", "exited", "running", "starting", "exited", "stopped")
    for agent_id, type_ in zip(agents, types, strict=True):
        await manager.announce(event(agent_id=agent_id, type=type_))
    async with reading(api.http, EVENTS, "0") as everything:
        assert await ids(everything, 7) == list(range(1, 8))
    last: dict[str, Any] = {"agent_id": params.get("agent_id", "echo"), "type": params.get("type", "running")}
    async with reading(api.http, EVENTS, "0", **params) as history:
        if expected:
            assert await ids(history, len(expected)) == expected
        await manager.announce(event(agent_id="third", type="stopped"))
        await manager.announce(event(**last))
        assert await ids(history, 1) == [9]


async def test_what_the_stream_no_longer_has_is_a_gap(manager: FakeManager, nats: NatsHarness) -> None:
    await announce(manager, 10)
    stream = (await nats.connect_as_manager()).jetstream()
    await stream.purge_stream(subjects.EVENT_STREAM, seq=6)
    async with running_api(nats) as api, reading(api.http, EVENTS, "2") as reader:
        gap = await reader.next()
        assert (gap.id, gap.event, gap.data["events"]) == ("5", "gap", 3)
        assert await ids(reader, 5) == [6, 7, 8, 9, 10]


async def test_an_id_that_was_never_given_is_a_gap_of_unknown_size(
    api: LiveApi, manager: FakeManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_follower, "LOOKS_FOR_STORED", 1)
    await announce(manager, 2)
    async with reading(api.http, EVENTS, "40") as reader:
        gap = await reader.next()
        assert (gap.id, gap.event, gap.data["events"]) == ("2", "gap", None)
        await announce(manager, 1)
        assert await ids(reader, 1) == [3]


async def test_a_stream_made_anew_goes_on_with_its_sequences(
    api: LiveApi, manager: FakeManager, nats: NatsHarness
) -> None:
    client = await nats.connect_as_manager()
    async with reading(api.http, EVENTS, "0") as reader:
        await announce(manager, 4)
        assert await ids(reader, 4) == [1, 2, 3, 4]
        await JetStreamEvents(lambda: client, LIMITS).restart(3)
        await announce(manager, 3)
        assert await ids(reader, 1) == [5]
    async with running_api(nats) as other, reading(other.http, EVENTS, "1") as resumed:
        assert (await resumed.next()).data["events"] == 1
        assert await ids(resumed, 3) == [3, 4, 5]


async def test_what_was_lost_on_the_way_is_read_in_the_stream(api: LiveApi, manager: FakeManager) -> None:
    async with reading(api.http, EVENTS) as reader:
        await reader.until_marked()
        publish = api.manager.feed.publish
        api.manager._link._on_event = lambda subject, body: None
        await announce(manager, 3)
        api.manager._link._on_event = publish
        await announce(manager, 1)
        assert await ids(reader, 4) == [1, 2, 3, 4]


async def test_what_was_lost_and_is_followed_by_silence_is_read_too(
    api: LiveApi, manager: FakeManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_follower, "LOOK_S", 0.05)
    async with reading(api.http, EVENTS) as reader:
        await reader.until_marked()
        api.manager._link._on_event = lambda subject, body: None
        await announce(manager, 3)
        assert await ids(reader, 3) == [1, 2, 3]


async def tell_unstored(client: Client, told: EventMessage) -> None:
    """Publish an event that subscribers hear and the stream refuses."""
    subject = subjects.agent_event(told.agent_id, told.type)
    refused = {Header.EXPECTED_LAST_SEQUENCE.value: "77"}
    await client.publish(subject, told.model_dump_json().encode(), headers=refused)


async def test_after_an_event_with_a_sequence_far_ahead_readers_wait_again_and_hear_what_comes(
    api: LiveApi, manager: FakeManager, nats: NatsHarness
) -> None:
    async with reading(api.http, EVENTS) as reader:
        await announce(manager, 2)
        assert await ids(reader, 2) == [1, 2]
        await tell_unstored(await nats.connect_as_manager(), event(10**9))
        await eventually(lambda: api.manager.feed.first == 10**9)
        await eventually(lambda: api.manager.feed.waiting == 1)
        await announce(manager, 3)
        assert await ids(reader, 3) == [3, 4, 5]
        assert api.manager.feed.first == 3


async def test_an_event_that_the_stream_never_gets_is_told_once_and_keeps_no_place(
    api: LiveApi, manager: FakeManager, nats: NatsHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_follower, "LOOK_S", 0.05)
    monkeypatch.setattr(event_follower, "LOOKS_FOR_STORED", 1)
    async with reading(api.http, EVENTS) as reader:
        await announce(manager, 2)
        assert await ids(reader, 2) == [1, 2]
        await tell_unstored(await nats.connect_as_manager(), event(3, message="never stored"))
        assert (await reader.next()).data["message"] == "never stored"
        gap = await reader.next()
        assert (gap.id, gap.event, gap.data["events"]) == ("2", "gap", None)
        happened = await manager.announce(event())
        assert await reader.next() == Sent("3", "running", happened.model_dump(mode="json"))


async def test_an_unreadable_event_is_passed_over(api: LiveApi, manager: FakeManager) -> None:
    async with reading(api.http, EVENTS, "0") as reader:
        await manager.announce(event(), body=b"{")
        await announce(manager, 1)
        assert await ids(reader, 1) == [2]


async def test_silence_is_filled_with_comments(nats: NatsHarness, manager: FakeManager) -> None:
    async with (
        running_api(nats, streams={"keep_alive_s": 0.02}) as api,
        api.http.stream("GET", "/api/v1/events") as answer,
    ):
        lines = answer.aiter_lines()
        got = [await anext(lines) for _ in range(8)]
    assert got == [": connected", "", "id: 0", "", ": keep-alive", "", ": keep-alive", ""]


async def test_a_reader_that_does_not_read_holds_up_nobody_and_is_told_everything_in_the_end(
    nats: NatsHarness, manager: FakeManager
) -> None:
    big = event(message="x" * 20_000)
    async with running_api(nats, streams={"backlog_bytes": 100_000}) as api:
        with closing(socket.socket()) as idle:
            idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            idle.connect(("127.0.0.1", api.port))
            idle.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: 0\r\n\r\n")
            async with reading(api.http, EVENTS, "0") as quick:
                for number in range(1, 301):
                    await manager.announce(big)
                    assert await ids(quick, 1) == [number]
            idle.setblocking(False)
            received = b""
            while b"id: 300\n" not in received:
                received = received[-10:] + await asyncio.get_running_loop().sock_recv(idle, 65_536)


async def test_restarts_of_bus_and_api_lose_and_repeat_nothing(nats: NatsHarness, manager: FakeManager) -> None:
    async with running_api(nats) as api, reading(api.http, EVENTS) as reader:
        await reader.until_marked()
        await announce(manager, 3)
        assert await ids(reader, 3) == [1, 2, 3]
        await nats.kill()
        await nats.start()

        async def announced() -> bool:
            return (await manager.announce(event())).sequence == 4

        await eventually(announced)
        assert await ids(reader, 1) == [4]
    await announce(manager, 2)
    async with running_api(nats) as api, reading(api.http, EVENTS, reader.last_id) as reader:
        assert await ids(reader, 2) == [5, 6]


async def test_stopping_ends_streams_and_answers_those_who_wait(api: LiveApi, manager: FakeManager) -> None:
    manager.ignore(operations.AGENTS_STOP)
    async with reading(api.http, EVENTS) as reader, asyncio.TaskGroup() as group:
        await reader.until_marked()
        waiting = group.create_task(api.http.post("/api/v1/agents/echo/stop?wait=300"))
        await eventually(lambda: manager.received)
        api.stop()
        assert await reader.rest() == []
    answer = waiting.result()
    assert answer.status_code == 503
    assert "shutting down" in answer.json()["detail"]


async def test_a_stream_opened_while_stopping_is_refused(api: LiveApi) -> None:
    api.manager.release()
    answer: httpx.Response = await api.http.get("/api/v1/events")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")


async def test_before_any_manager_was_there_the_stream_is_unavailable(api: LiveApi) -> None:
    answer: httpx.Response = await api.http.get("/api/v1/events")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert "stream EVENTS cannot be read" in answer.json()["detail"]


@pytest.mark.parametrize("last_id", ["x", "-1", "1.5", "9" * 19, "\u00b2"])
async def test_what_is_no_id_is_refused(api: LiveApi, manager: FakeManager, last_id: str) -> None:
    headers = {b"Last-Event-ID": last_id.encode("latin-1")}
    answer = await api.http.get("/api/v1/events", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
