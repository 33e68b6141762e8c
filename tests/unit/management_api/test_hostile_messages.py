"""Whatever comes over the bus, the API and its readers go on, and are told nothing that they could not read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Self, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nats.aio.client import Client
from nats.aio.msg import Msg

from agent_manager.protocol import subjects
from agent_manager.protocol.errors import RequestFailedError
from agent_manager.protocol.messages import EventMessage, LogLines, Response
from agent_manager.protocol.operations import OPERATIONS, Operation
from agent_manager.protocol.subjects import agent_event
from management_api import event_follower
from management_api.event_feed import EventFeed, EventFilter, sent_event
from management_api.event_follower import EventFollower
from management_api.log_inbox import LogInbox
from management_api.manager_client import ManagerClient, result_of
from management_api.problems import problem_response
from management_api.server_sent import frame
from tests.harness import hostile
from tests.harness.fake_manager import event
from tests.harness.memory_bus import MemoryClient

LIMIT = 20_000
RUNNING = agent_event("echo", "running")
EVENT_SUBJECTS = st.sampled_from(
    [
        "agent.event.echo.running",
        "agent.event.echo.running",
        "agent.event.é.x",
        "agent.event.a\rb.x",
        "task.event.a.b.c",
    ]
)
ANSWERS = {
    operation: hostile.bodies(
        hostile.valid(Response, status=st.just("success"), result=hostile.valid(operation.result))
    )
    for operation in OPERATIONS
}
REFUSALS = hostile.bodies(hostile.valid(Response, status=st.just("error")))


def body_of(sequence: int) -> bytes:
    return event(sequence).model_dump_json().encode()


def check_frame(sent: bytes) -> None:
    """One server-sent event, whose data everybody can read."""
    identity, name, data, end, rest = sent.split(b"\n")
    assert (identity[:4], name[:7], data[:6], end, rest) == (b"id: ", b"event: ", b"data: ", b"", b"")
    hostile.strictly(data[6:])


class QuietStream:
    """A bus to read events from, whose stream has taken none that is told here."""

    def __init__(self, *, last: int) -> None:
        self.feed = EventFeed(limit_bytes=LIMIT)
        self.last = last

    @property
    def as_manager(self) -> ManagerClient:
        """Itself, for a follower."""
        return cast(ManagerClient, self)

    def check_connected(self) -> Self:
        """The client, too."""
        return self

    async def request(self, subject: str, **_: float) -> Msg:
        """Where the stream begins and ends."""
        assert subject == subjects.EVENT_STREAM_INFO
        ends = json.dumps({"state": {"first_seq": 1, "last_seq": self.last}})
        return Msg(_client=cast(Client, self), subject="_INBOX.x", reply="", data=ends.encode())


async def soon(condition: Callable[[], bool]) -> None:
    """Let the others run until it is so, a bounded number of times."""
    for _ in range(1_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not become so")


@pytest.fixture(scope="module")
def impatient() -> Iterator[None]:
    """Readers of events that do not pause."""
    with pytest.MonkeyPatch.context() as patch:
        for pause in ("LOOK_S", "RETRY_S", "STORING_S"):
            patch.setattr(event_follower, pause, 0.0)
        yield


@settings(hostile.thorough, max_examples=400)
@given(
    told=st.lists(st.tuples(EVENT_SUBJECTS, hostile.bodies(hostile.valid(EventMessage))), max_size=5),
    sequence=st.integers(1, 10),
    ahead=st.integers(0, 3) | st.integers(0, 10**9),
)
@pytest.mark.usefixtures("impatient")
def test_whatever_is_told_as_an_event_readers_can_read_and_the_next_one_is_told(
    told: list[tuple[str, bytes]], sequence: int, ahead: int
) -> None:
    feed = EventFeed(limit_bytes=LIMIT)
    for subject, body in told:
        feed.publish(subject, body)
        one = sent_event(subject, body)
        kept = [] if one is None else feed.since(one.sequence) or []
        assert sum(len(each.frame) for each in kept[1:]) <= LIMIT
        for each in kept:
            assert EventFilter().admits(each) is bool(each.frame)
            if each.frame:
                check_frame(each.frame)
    asyncio.run(check_next_is_told([*told, (RUNNING, body_of(sequence + ahead))], sequence))


async def check_next_is_told(told: list[tuple[str, bytes]], sequence: int) -> None:
    """A reader hears the event that the stream takes next, though others of any sequence were told before."""
    bus, heard = QuietStream(last=sequence - 1), list[bytes]()

    async def follow() -> None:
        async for part in EventFollower(bus.as_manager, EventFilter(), after=sequence - 1).frames():
            heard.append(part)

    following = asyncio.create_task(follow())
    try:
        for subject, body in told:
            bus.feed.publish(subject, body)
        await soon(lambda: bus.feed.since(sequence) == ())
        bus.feed.publish(RUNNING, body_of(sequence))
        bus.last = sequence
        one = sent_event(RUNNING, body_of(sequence))
        assert one is not None
        await soon(lambda: heard[-1:] == [one.frame])
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def test_a_reader_with_an_id_that_was_never_given_leaves_the_others_their_events(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(event_follower, "RETRY_S", 0.0)
    bus = QuietStream(last=9)
    for sequence in range(1, 10):
        bus.feed.publish(RUNNING, body_of(sequence))
    follower, parts = EventFollower(bus.as_manager, EventFilter(), after=10**6), list[bytes]()

    async def follow() -> None:
        async for part in follower.frames():
            parts.append(part)

    following = asyncio.create_task(follow())
    try:
        for sequence in range(10, 80):
            # Each is told a moment before it is stored.
            bus.feed.publish(RUNNING, body_of(sequence))
            await asyncio.sleep(0)
            bus.last = sequence
        await soon(lambda: b"event: gap" in b"".join(parts))
        assert bus.feed.first == 1
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


@settings(hostile.thorough, max_examples=600)
@given(
    stream=st.sampled_from(["out", "err", "both", "é", "\x0b"]),
    body=hostile.bodies(
        hostile.valid(
            LogLines, instance_id=st.sampled_from(["echo_0", "other_0", "echo", "echo_x", ""]), end=st.integers(0, 9)
        )
    ),
)
def test_whatever_is_told_as_output_is_that_of_its_subject_and_holds_what_it_says(stream: str, body: bytes) -> None:
    async def heard() -> list[LogLines]:
        client, inbox = MemoryClient(), LogInbox(limit_bytes=LIMIT)
        await inbox.listen(client.as_client, "echo_0")
        assert await client.deliver(f"agent.log.echo_0.{stream}", body) == 1
        return [lines for lines in (inbox.take(), inbox.take()) if lines is not None]

    for lines in asyncio.run(heard()):
        assert (lines.instance_id, lines.stream) == ("echo_0", stream)
        assert 0 <= lines.end - lines.start <= len(body)
        check_frame(frame("lines", lines, event_id="0:0:0"))


def test_output_is_heard_where_it_is_well_formed() -> None:
    piece = LogLines(instance_id="somebody_7", stream="err", start=3, end=7, lines=["abc"])

    async def heard() -> LogLines | None:
        client, inbox = MemoryClient(), LogInbox(limit_bytes=LIMIT)
        await inbox.listen(client.as_client, "echo_0")
        await client.deliver(subjects.log_lines("echo_0", "out"), piece.model_dump_json().encode())
        return inbox.take()

    assert asyncio.run(heard()) == piece.model_copy(update={"instance_id": "echo_0", "stream": "out"})


@settings(hostile.thorough, max_examples=700)
@given(data=st.data())
def test_whatever_a_manager_answers_becomes_a_result_or_a_problem(data: st.DataObject) -> None:
    operation: Operation = data.draw(st.sampled_from(OPERATIONS))
    body = data.draw(st.one_of(ANSWERS[operation], REFUSALS))
    try:
        result = result_of(operation, body)
    except RequestFailedError as error:
        answer = problem_response(error, instance="/api/v1/agents")
        assert 400 <= answer.status_code < 600
        hostile.strictly(bytes(answer.body))
    else:
        json.dumps(result.model_dump(mode="json"), allow_nan=False)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_is_none_is_an_answer_that_cannot_be_read(number: str) -> None:
    body = f'{{"status": "error", "command": "x", "timestamp": "{hostile.MOMENT}", "error": {{"code": "busy", '
    body += f'"message": "", "detail": {{"a": {number}}}}}}}'
    with pytest.raises(RequestFailedError, match="it is not JSON"):
        result_of(OPERATIONS[0], body.encode())
