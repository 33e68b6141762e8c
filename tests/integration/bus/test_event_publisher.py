"""Committed events in the stream: each once, in order, whatever is killed or lost in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nats.errors
import pytest
from nats.aio.client import Client

from agent_manager.adapters.nats.event_stream import GENERATION, JetStreamEvents, StreamLimits
from agent_manager.adapters.sql.migration import migrate
from agent_manager.adapters.sql.sqlite import SqliteStore
from agent_manager.adapters.system import SystemClock
from agent_manager.domain.errors import UnavailableError
from agent_manager.domain.events import Event
from agent_manager.protocol import subjects
from agent_manager.services import event_publisher
from agent_manager.services.event_publisher import EventPublisher
from tests.harness.event_observer import stored_events
from tests.harness.fakes import owned_tasks
from tests.harness.nats_server import NatsHarness, settle
from tests.harness.waiting import eventually

LIMITS = StreamLimits(max_age_s=3600.0, max_bytes=1 << 24, replicas=1)
HISTORY_S = 3600.0
NEVER_S = 3600.0


def event(name: str, **changes: Any) -> Event:
    made = Event(type="running", agent_id="echo", at=SystemClock().now().wall, message=name)
    return replace(made, **changes)


@dataclass
class Place:
    """A database and a bus."""

    store: SqliteStore
    client: Client

    async def commit(self, *events: Event) -> None:
        await self.store.write(lambda transaction: [transaction.append_event(each) for each in events])

    def publisher(self, stream: JetStreamEvents | None = None) -> EventPublisher:
        return EventPublisher(
            store=self.store, stream=stream or self.stream(), clock=SystemClock(), history_s=HISTORY_S
        )

    def stream(self) -> JetStreamEvents:
        return JetStreamEvents(lambda: self.client if self.client.is_connected else None, LIMITS)

    async def last(self) -> int:
        """The last sequence, 0 while there is no stream, or no answer."""
        with suppress(nats.errors.Error):
            return int((await self.client.jetstream().stream_info(subjects.EVENT_STREAM)).state.last_seq)
        return 0

    async def reaches(self, sequence: int) -> None:
        """Wait until that is the last one."""

        async def there() -> bool:
            return await self.last() == sequence

        await eventually(there)

    async def messages(self) -> list[str]:
        """What the stream has, after it was checked that sequences and numbers are the same."""
        stored = await stored_events(self.client)
        assert [message.body["sequence"] for message in stored] == [message.sequence for message in stored]
        return [str(message.body["message"]) for message in stored]

    async def has(self, *messages: str) -> None:
        async def there() -> bool:
            # A stream that is being made anew may be gone between two questions.
            with suppress(nats.errors.Error):
                return await self.messages() == list(messages)
            return False

        try:
            await eventually(there)
        except TimeoutError:
            raise AssertionError(await self.messages()) from None


@pytest.fixture
async def place(nats: NatsHarness, tmp_path: Path) -> AsyncIterator[Place]:
    url = f"sqlite:///{tmp_path / 'manager.db'}"
    migrate(url)
    async with SqliteStore(url) as store:
        yield Place(store, await nats.connect_as_manager())


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_publisher, "POLL_S", 0.05)
    monkeypatch.setattr(event_publisher, "ALONE_POLL_S", 0.05)
    monkeypatch.setattr(event_publisher, "RETRY_S", 0.02)


@asynccontextmanager
async def running(publisher: EventPublisher) -> AsyncIterator[EventPublisher]:
    async with owned_tasks() as tasks:
        task = tasks.create_task(publisher.run())
        yield publisher
        assert not task.done()
        task.cancel()


def names(first: int, last: int) -> list[str]:
    return [f"event {number}" for number in range(first, last)]


async def test_what_was_committed_before_and_what_follows_is_published_in_order(place: Place) -> None:
    await place.commit(*map(event, names(0, 3)))
    async with running(place.publisher()) as publisher:
        await place.has(*names(0, 3))
        await place.commit(*map(event, names(3, 5)))
        publisher.committed()
        await publisher.flushed()
        assert await place.messages() == names(0, 5)


async def test_what_another_node_commits_is_published_though_nobody_tells(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_publisher, "ALONE_POLL_S", NEVER_S)
    monkeypatch.setattr(SqliteStore, "is_shared", True)
    async with running(place.publisher()):
        await place.commit(event("one"))
        await place.has("one")
        await place.commit(event("two"))
        await place.has("one", "two")


async def test_subscribers_hear_each_event_with_its_sequence(place: Place, nats: NatsHarness) -> None:
    service = await nats.connect_as_service()
    heard = await service.subscribe("agent.event.echo.*")
    await settle(service)
    await place.commit(event("one"))
    async with running(place.publisher()):
        message = await heard.next_msg(timeout=20)
    assert message.subject == "agent.event.echo.running"
    assert b'"sequence":1' in message.data


async def test_a_burst_while_publishers_are_killed_leaves_no_gap_and_no_double(place: Place) -> None:
    total, step = 1_500, 25
    expected = names(0, total)

    async def write() -> None:
        for first in range(0, total, step):
            await place.commit(*map(event, names(first, first + step)))
            await asyncio.sleep(0.002)

    async with asyncio.TaskGroup() as group:
        writing = group.create_task(write())
        while not writing.done():
            publishing = group.create_task(place.publisher().run())
            await asyncio.sleep(0.01)
            publishing.cancel()
    async with running(place.publisher()):
        await place.reaches(total)
    assert await place.messages() == expected


async def test_two_publishers_take_turns(place: Place) -> None:
    async with running(place.publisher()), running(place.publisher()):
        await place.commit(*map(event, names(0, 50)))
        await place.has(*names(0, 50))


async def test_only_the_publisher_knows_what_is_in_the_stream(place: Place) -> None:
    await place.commit(*map(event, names(0, 3)))
    publisher, waiting = place.publisher(), place.publisher()
    assert publisher.published is None
    async with running(publisher):
        await publisher.leading()
        async with running(waiting):
            await eventually(lambda: publisher.published == 3)
            assert waiting.published is None
            await place.commit(event("event 3"))
            publisher.committed()
            await eventually(lambda: publisher.published == 4)
    assert await place.last() == 4
    assert publisher.published is None


async def test_a_stream_that_is_lost_is_filled_with_what_retention_has_left(place: Place) -> None:
    await place.commit(*map(event, names(0, 6)))
    async with running(place.publisher()):
        await place.has(*names(0, 6))
    await place.client.jetstream().delete_stream(subjects.EVENT_STREAM)
    await place.store.write(lambda t: t.trim_events(through=6, before=0.0, keep=2, limit=100))
    async with running(place.publisher()) as publisher:
        await place.has(*names(4, 6))
        await place.commit(event("event 6"))
        publisher.committed()
        await place.has(*names(4, 7))
    assert await place.last() == 7


async def test_a_publisher_that_does_not_know_that_it_was_superseded_does_no_harm(place: Place) -> None:
    await place.commit(*map(event, names(0, 2)))
    async with running(place.publisher()):
        await place.has(*names(0, 2))
    late = place.stream()
    await late.open()
    with pytest.raises(UnavailableError, match="wrong last sequence"):
        await late.publish([event("late", number=2)])
    assert await place.messages() == names(0, 2)


async def test_numbered_but_not_published_is_published_by_the_next(place: Place) -> None:
    await place.commit(*map(event, names(0, 3)))
    await place.store.write(lambda transaction: transaction.mark_published({1: 1, 2: 2}))
    async with running(place.publisher()):
        await place.has(*names(0, 3))


async def test_published_but_not_acknowledged_is_not_published_again(place: Place) -> None:
    await place.commit(*map(event, names(0, 3)))
    stream = place.stream()
    await stream.restart(1)
    await stream.publish([event(name, number=number) for number, name in enumerate(names(0, 2), 1)])
    await place.store.write(lambda transaction: transaction.mark_published({1: 1, 2: 2, 3: 3}))
    async with running(place.publisher()):
        await place.has(*names(0, 3))


async def test_while_the_bus_is_away_events_wait_and_are_published_after(nats: NatsHarness, place: Place) -> None:
    async with running(place.publisher()):
        await place.commit(event("event 0"))
        await place.has("event 0")
        for number in range(1, 4):
            await nats.kill()
            await place.commit(event(f"event {number}"))
            await nats.start()
            await eventually(lambda: place.client.is_connected)
            await place.has(*names(0, number + 1))


async def test_a_server_killed_in_the_middle_of_a_burst_leaves_no_gap_and_no_double(
    nats: NatsHarness, place: Place
) -> None:
    total = 3_000
    async with running(place.publisher()) as publisher, asyncio.TaskGroup() as group:

        async def write() -> None:
            for first in range(0, total, 10):
                await place.commit(*map(event, names(first, first + 10)))
                publisher.committed()

        writing = group.create_task(write())
        while not writing.done():
            await nats.kill()
            await nats.start()
            await eventually(lambda: place.client.is_connected)
            await asyncio.sleep(0.05)

        publisher.committed()
        await place.reaches(total)
        assert await place.messages() == names(0, total)


async def _deleted(place: Place) -> None:
    await place.client.jetstream().delete_stream(subjects.EVENT_STREAM)


async def test_a_stream_that_was_lost_is_filled_again_with_the_same_sequences(place: Place) -> None:
    await place.commit(event("too old", at=1.0), *map(event, names(0, 3)))
    async with running(place.publisher()):
        await place.has("too old", *names(0, 3))
        before = await stored_events(place.client)
    await _deleted(place)
    async with running(place.publisher()):
        await place.has(*names(0, 3))
        assert await stored_events(place.client) == before[1:]
        await place.commit(event("event 3"))
        await place.has(*names(0, 4))


async def test_a_stream_that_is_lost_under_a_publisher_is_noticed(place: Place) -> None:
    async with running(place.publisher()):
        await place.commit(event("event 0"))
        await place.has("event 0")
        await _deleted(place)
        await place.commit(event("event 1"))
        await place.has("event 0", "event 1")


async def test_a_database_that_knows_less_than_the_stream_goes_on_above_it(place: Place) -> None:
    stream = place.stream()
    await stream.restart(1)
    await stream.publish([event(name, number=number) for number, name in enumerate(names(0, 4), 1)])
    await place.commit(event("event 4"))
    async with running(place.publisher()):
        await place.has(*names(0, 5))


async def test_numbers_that_never_come_begin_a_new_stream(place: Place) -> None:
    await place.commit(*map(event, names(0, 3)))
    await place.store.write(lambda transaction: transaction.mark_published({1: 1, 2: 10, 3: 11}))
    async with running(place.publisher()):
        await place.has("event 1", "event 2")


async def test_a_stream_of_somebody_else_is_left_alone_and_events_wait(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    jetstream = place.client.jetstream()
    await jetstream.add_stream(name=subjects.EVENT_STREAM, subjects=["orders.>"])
    await jetstream.publish("orders.new", b"precious")
    await place.commit(event("event 0"))
    async with running(place.publisher()):
        await eventually(lambda: any("no manager" in str(record.__dict__.get("error")) for record in caplog.records))
        theirs = await jetstream.stream_info(subjects.EVENT_STREAM)
        assert (theirs.config.subjects, theirs.state.messages) == (["orders.>"], 1)
        await _deleted(place)
        await place.has("event 0")


async def test_a_stream_with_other_limits_is_mended_and_keeps_its_generation(place: Place) -> None:
    stream = place.stream()
    await stream.restart(1)
    made = (await place.client.jetstream().stream_info(subjects.EVENT_STREAM)).config
    other = JetStreamEvents(lambda: place.client, replace(LIMITS, max_age_s=60.0))
    assert await other.open() == 0
    mended = (await place.client.jetstream().stream_info(subjects.EVENT_STREAM)).config
    assert (made.max_age, mended.max_age) == (3600.0, 60.0)
    assert made.metadata is not None
    assert mended.metadata is not None
    assert made.metadata[GENERATION] == mended.metadata[GENERATION]


@pytest.mark.parametrize(
    "change",
    [
        {"message": "half a character \ud800"},
        {"data": {"file": "\udcff"}},
        {"message": "m" * 9_000_000},
        {"type": "No Token"},
        {"data": {"big": "x" * 9_000_000}},
    ],
    ids=["message", "data", "long", "type", "big"],
)
async def test_no_event_holds_up_those_after_it(place: Place, change: dict[str, Any]) -> None:
    async with running(place.publisher()):
        await place.commit(event("strange", **change), event("next"))

        async def told() -> bool:
            return len(await place.messages()) == 2

        await eventually(told)
        assert (await place.messages())[1] == "next"


async def test_nothing_is_said_of_delays_that_last_but_once(
    place: Place, nats: NatsHarness, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger=event_publisher.log.name)
    await nats.kill()
    await eventually(lambda: not place.client.is_connected)
    async with running(place.publisher()):
        await eventually(lambda: "events_delayed" in caplog.messages)
        await nats.start()
        await eventually(lambda: "events_published" in caplog.messages)
    assert caplog.messages.count("events_delayed") == 1


async def test_why_the_stream_takes_no_events_is_told(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    await place.commit(*map(event, names(0, 1)))
    async with running(place.publisher()) as publisher:
        await place.has(*names(0, 1))
        stream = place.client.jetstream()
        config = (await stream.stream_info(subjects.EVENT_STREAM)).config
        await stream.update_stream(config.evolve(max_msg_size=10))
        await place.commit(*map(event, names(1, 4)))
        publisher.committed()
        await eventually(lambda: "events_delayed" in caplog.messages)
    (told,) = [record for record in caplog.records if record.message == "events_delayed"]
    assert "message size exceeds maximum allowed" in str(told.__dict__)


async def test_whoever_does_not_publish_has_nothing_to_flush(place: Place) -> None:
    await asyncio.wait_for(place.publisher().flushed(), 5)


@pytest.mark.parametrize("headers", [None, {"Nats-Msg-Id": "mine"}, {"Nats-Msg-Id": "mine.4"}])
async def test_what_somebody_else_publishes_takes_no_events_place(place: Place, headers: dict[str, str] | None) -> None:
    await place.commit(*map(event, names(0, 3)))
    async with running(place.publisher()) as publisher:
        await place.has(*names(0, 3))
        forged = b'{"sequence": 4, "message": "forged"}'
        await place.client.publish("agent.event.echo.running", forged, headers=headers)
        await place.reaches(4)
        await place.commit(*map(event, names(3, 5)))
        publisher.committed()
        await place.has(*names(0, 5))
