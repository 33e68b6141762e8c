"""Retention: what is recorded of events and exits goes when it is old, or when there is too much of it.

The manager that publishes the events does it for the cluster: it alone knows which of them are in the stream. A manager
that only believes that it still is the publisher knows of fewer, and so can do no harm.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from agent_manager.domain.errors import UnavailableError
from agent_manager.ports.clock import Clock
from agent_manager.ports.observation import UNOBSERVED, Observer
from agent_manager.ports.store import Store, Transaction

BATCH = 250
"""Records that go in one transaction: short enough that whoever writes meanwhile does not notice."""
PAUSE_S = 0.05
"""Between two transactions: what else wants to write comes first."""
AGENTS = 20
"""Agents whose exits are looked at in one transaction."""
NOTICE_S = 60.0
"""How long it may take until another interval is noticed."""
SETTLED_S = 3_600.0
"""An exit as young as that stays, however many there are."""

log = logging.getLogger(__name__)


class Publishing(Protocol):
    """The publisher of events, as far as it matters here."""

    @property
    def published(self) -> int | None:
        """The number of the last event that is in the stream for certain; None where this is not the publisher."""
        ...

    async def leading(self) -> None:
        """Wait until this is the publisher of the cluster."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How long records are kept, how many of them at most, and how often that is looked at."""

    interval_s: float
    events_age_s: float
    events: int
    exits_age_s: float
    exits_per_agent: int


class Retention:
    """Deletes what is beyond its limits; `run` is its one task."""

    def __init__(
        self,
        *,
        store: Store,
        publisher: Publishing,
        clock: Clock,
        limits: Callable[[], Limits],
        observer: Observer = UNOBSERVED,
    ) -> None:
        """`limits` is asked each time."""
        self._store = store
        self._publisher = publisher
        self._clock = clock
        self._limits = limits
        self._observer = observer

    async def run(self) -> None:
        """Look as soon as this manager is the one to do it, and then at every interval, for ever."""
        while True:
            await self._publisher.leading()
            await self.look()
            await self._interval()

    async def _interval(self) -> None:
        """Wait as long as the limits say, also where they say something else meanwhile."""
        time = asyncio.get_running_loop().time
        begun = time()
        left_s = self._limits().interval_s
        while left_s > 0:
            await asyncio.sleep(min(left_s, NOTICE_S))
            left_s = begun + self._limits().interval_s - time()

    async def look(self) -> None:
        """Delete what is beyond the limits now; while the store is away, the next time."""
        removed = {"events": 0, "exits": 0}

        def count(table: str, records: int) -> None:
            removed[table] += records
            self._observer.records_removed(table, records)

        # That the store is away is said by those for whom it matters at once.
        with suppress(UnavailableError):
            await self._trim_events(partial(count, "events"))
            await self._trim_exits(partial(count, "exits"))
        if any(removed.values()):
            log.info("records_removed", extra=removed)

    async def _trim_events(self, count: Callable[[int], None]) -> None:
        limits = self._limits()
        through = self._publisher.published or 0
        before = self._clock.now().wall - limits.events_age_s

        def unit(transaction: Transaction) -> int:
            return transaction.trim_events(through=through, before=before, keep=limits.events, limit=BATCH)

        await self._repeat(unit, count)

    async def _trim_exits(self, count: Callable[[int], None]) -> None:
        limits = self._limits()
        now = self._clock.now().wall
        trim = partial(
            _trim_exits_of, before=now - limits.exits_age_s, keep=limits.exits_per_agent, settled=now - SETTLED_S
        )
        after = ""
        while agents := await self._store.read(partial(_agents_above, after)):
            await self._repeat(partial(trim, agents), count)
            await asyncio.sleep(PAUSE_S)
            after = agents[-1]

    async def _repeat(self, unit: Callable[[Transaction], int], count: Callable[[int], None]) -> None:
        """Run it until it finds no whole batch any more."""
        while removed := await self._store.write(unit):
            count(removed)
            if removed < BATCH:
                return
            await asyncio.sleep(PAUSE_S)


def _agents_above(after: str, transaction: Transaction) -> Sequence[str]:
    return transaction.agents_with_exits(after, AGENTS)


def _trim_exits_of(agents: Sequence[str], transaction: Transaction, *, before: float, keep: int, settled: float) -> int:
    removed = 0
    for agent_id in agents:
        left = BATCH - removed
        removed += transaction.trim_exits(agent_id, before=before, keep=keep, settled=settled, limit=left)
        if removed == BATCH:
            break
    return removed
