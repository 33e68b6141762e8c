"""What is deleted of the records, when, and by whom."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from itertools import count

import pytest

from agent_manager.adapters.sql.sqlite import SqliteStore
from agent_manager.ports.observation import Unobserved
from agent_manager.ports.store import Transaction
from agent_manager.services import retention
from agent_manager.services.retention import SETTLED_S, Limits, Retention
from tests.contract.store_values import event, exit_
from tests.harness.fakes import FailingStore, FakeClock, owned_tasks
from tests.harness.waiting import eventually

DAY_S = 86_400.0
LIMITS = Limits(interval_s=3_600.0, events_age_s=DAY_S, events=1_000, exits_age_s=DAY_S, exits_per_agent=100)


@dataclass
class Publisher:
    """The publisher once `is_leading` is set, with everything published."""

    published: int | None = 10_000
    is_leading: asyncio.Event = field(default_factory=asyncio.Event)
    was_asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def leading(self) -> None:
        self.was_asked.set()
        await self.is_leading.wait()


@dataclass
class Removed(Unobserved):
    """Counts by table, and the most that went at once."""

    records: dict[str, int] = field(default_factory=lambda: {"events": 0, "exits": 0})
    most: int = 0

    def records_removed(self, table: str, count: int) -> None:
        self.records[table] += count
        self.most = max(self.most, count)


class Place:
    """A database with records, and who keeps it small."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = FailingStore(store)
        self.clock = FakeClock()
        self.publisher = Publisher()
        self.removed = Removed()
        self.limits = LIMITS
        self.retention = Retention(
            store=self.store,
            publisher=self.publisher,
            clock=self.clock,
            limits=lambda: self.limits,
            observer=self.removed,
        )
        self._numbers = count(1)

    async def published(self, *ages_s: float) -> None:
        """Events that happened so long ago, and are published."""

        def work(t: Transaction) -> None:
            added = [t.append_event(replace(event(), at=self.clock.wall - age_s)) for age_s in ages_s]
            t.mark_published({each.sequence or 0: next(self._numbers) for each in added})

        await self.store.write(work)

    async def exited(self, agent_id: str, *ages_s: float) -> None:
        """Exits that happened so long ago."""

        def work(t: Transaction) -> None:
            for number, age_s in enumerate(ages_s):
                t.record_exit(agent_id, 0, "node-1", exit_(f"{agent_id}-{number}", at=self.clock.wall - age_s))

        await self.store.write(work)

    async def numbers(self) -> list[int | None]:
        """Those of the events that are left."""
        return [each.number for each in await self.store.read(lambda t: t.published_events(0, 10_000))]

    async def exits(self, agent_id: str) -> int:
        """How many are left of an agent."""
        return len(await self.store.read(lambda t: t.exits(agent_id, 10_000)))


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with SqliteStore("sqlite://") as store:
        yield Place(store)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 5)
    monkeypatch.setattr(retention, "AGENTS", 2)
    monkeypatch.setattr(retention, "PAUSE_S", 0.0)


async def test_what_is_old_goes_and_what_is_young_stays(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    await place.published(2 * DAY_S, 1.5 * DAY_S, 10.0, 5.0)
    await place.exited("echo", 2 * DAY_S, 10.0)
    await place.retention.look()
    assert await place.numbers() == [3, 4]
    assert await place.exits("echo") == 1
    assert place.removed.records == {"events": 2, "exits": 1}
    (line,) = caplog.records
    assert (line.message, line.__dict__["events"], line.__dict__["exits"]) == ("records_removed", 2, 1)


async def test_what_is_too_many_goes_in_batches_of_several_agents(place: Place) -> None:
    place.limits = replace(LIMITS, events=7, exits_per_agent=3)
    ages = [SETTLED_S + 60.0 - number for number in range(24)]
    await place.published(*ages)
    for agent_id in ("a", "b", "c", "d", "e"):
        await place.exited(agent_id, *ages)
    before = place.store.writes
    await place.retention.look()
    assert await place.numbers() == list(range(18, 25))
    assert [await place.exits(agent_id) for agent_id in ("a", "b", "c", "d", "e")] == [3] * 5
    assert place.removed.records == {"events": 17, "exits": 105}
    assert place.removed.most == retention.BATCH
    # 17 in fives, twice 42 of two agents and once 21 of one.
    assert place.store.writes - before == 4 + 9 + 9 + 5


async def test_an_exit_of_the_last_hour_stays_however_many_there_are(place: Place) -> None:
    place.limits = replace(LIMITS, exits_per_agent=1)
    await place.exited("echo", SETTLED_S + 1.0, SETTLED_S - 1.0, 30.0, 20.0)
    await place.retention.look()
    assert await place.exits("echo") == 3


async def test_what_is_not_in_the_stream_yet_stays(place: Place) -> None:
    await place.published(*[2 * DAY_S] * 4)
    place.publisher.published = 2
    await place.retention.look()
    assert await place.numbers() == [3, 4]
    place.publisher.published = None
    await place.retention.look()
    assert await place.numbers() == [3, 4]


async def test_nothing_to_remove_is_not_logged(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    await place.published(10.0, 5.0)
    await place.retention.look()
    assert caplog.records == []


async def test_whoever_is_not_the_publisher_touches_nothing(place: Place) -> None:
    await place.published(2 * DAY_S, 10.0)
    before = place.store.writes, place.store.reads
    async with owned_tasks() as tasks:
        task = tasks.create_task(place.retention.run())
        await eventually(place.publisher.was_asked.is_set)
        assert (place.store.writes, place.store.reads) == before
        place.publisher.is_leading.set()
        await eventually(lambda: place.removed.records["events"] == 1)
        task.cancel()


async def test_a_store_that_is_away_is_asked_again_at_the_next_interval_without_a_word(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.limits = replace(LIMITS, interval_s=0.001)
    place.publisher.is_leading.set()
    await place.published(2 * DAY_S, 10.0)
    place.store.away = True
    async with owned_tasks() as tasks:
        task = tasks.create_task(place.retention.run())
        await eventually(lambda: place.store.refused >= 2)
        assert caplog.records == []
        place.store.away = False
        await eventually(lambda: place.removed.records["events"] == 1)
        task.cancel()
    assert await place.numbers() == [2]


async def test_a_shorter_interval_counts_without_waiting_for_the_end_of_the_longer_one(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "NOTICE_S", 0.001)
    place.publisher.is_leading.set()
    await place.published(2 * DAY_S, 10.0)
    async with owned_tasks() as tasks:
        task = tasks.create_task(place.retention.run())
        await eventually(lambda: place.removed.records["events"] == 1)
        await place.published(2 * DAY_S, 10.0)
        place.limits = replace(LIMITS, interval_s=0.0, events=1)
        await eventually(lambda: place.removed.records["events"] > 1)
        task.cancel()


async def test_a_store_that_goes_away_half_way_keeps_count_of_what_went(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    await place.published(*[2 * DAY_S] * 12, 10.0)
    place.removed.records_removed = lambda table, count: setattr(place.store, "away", True)  # type: ignore[method-assign]
    await place.retention.look()
    (line,) = caplog.records
    assert line.__dict__["events"] == 5
    place.store.away = False
    assert await place.numbers() == list(range(6, 14))
