"""Events on their way from the database to the public stream: each once, in one order, however often this is killed.

One publisher in the cluster holds a name in the store. It gives committed events the numbers that follow the last one,
commits that, then publishes them: an event's number is its sequence in the stream. The stream takes a message only
after the one before it, so what it has last says what to go on with, and a publisher that was cut off without knowing
can do no harm.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from agent_manager.domain.errors import UnavailableError
from agent_manager.domain.events import Event
from agent_manager.ports.bus import EventStream
from agent_manager.ports.clock import Clock
from agent_manager.ports.store import Store, Transaction
from agent_manager.services.trouble import Trouble

PUBLISHER = "event-publisher"
"""The name that is held."""
PAGE = 512
POLL_S = 1.0
"""How often it is looked for events that other nodes have committed."""
ALONE_POLL_S = 30.0
"""The same where no other node writes: what is committed here is told."""
GATHER_S = 0.02
"""Pause before a burst is published: what comes meanwhile goes with it."""
RETRY_S = 0.5
MAX_RESTORED = 100_000
"""Most events that a stream which was lost is given back."""

log = logging.getLogger(__name__)


class EventPublisher:
    """Publishes what is committed; `run` is its one task."""

    def __init__(self, *, store: Store, stream: EventStream, clock: Clock, history_s: float) -> None:
        """`history_s` is how far back a stream that was lost is filled again."""
        self._store = store
        self._stream = stream
        self._clock = clock
        self._history_s = history_s
        self._poll_s = POLL_S if store.is_shared else ALONE_POLL_S
        self._is_publisher = False
        self._published: int | None = None
        self._leads = asyncio.Event()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._delay = Trouble(log, begins="events_delayed", ends="events_published")

    @property
    def published(self) -> int | None:
        """The number of the last event that is in the stream for certain; None where this is not the publisher."""
        return self._published

    async def leading(self) -> None:
        """Wait until this is the publisher of the cluster, and knows how far the stream has come."""
        await self._leads.wait()

    def committed(self) -> None:
        """There is something to publish."""
        self._idle.clear()
        self._wake.set()

    async def flushed(self) -> None:
        """Wait until everything committed so far is published; another publisher's work is not waited for."""
        if self._is_publisher:
            self.committed()
            await self._idle.wait()

    async def run(self) -> None:
        """Publish for ever; while database or bus are away, events wait in the database."""
        while True:
            try:
                async with self._store.hold(PUBLISHER):
                    self._is_publisher = True
                    await self._publish()
            except UnavailableError as error:
                self._delay.met(error.message)
            finally:
                self._is_publisher, self._published = False, None
                self._leads.clear()
                self._idle.set()
            await asyncio.sleep(RETRY_S)

    async def _publish(self) -> None:
        self._published = last = await self._opened()
        self._leads.set()
        while True:
            self._wake.clear()
            events = await self._after(last)
            if events:
                self._published = last = await self._sent(events, last)
            self._delay.over()
            if not events:
                await self._pause()

    async def _pause(self) -> None:
        if not self._wake.is_set():
            self._idle.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await self._wake.wait()
                    await asyncio.sleep(GATHER_S)

    async def _opened(self) -> int:
        """The last sequence of the stream; one that is not there is made, and will be filled from the database."""
        last = await self._stream.open()
        if last is not None:
            return last
        oldest = self._clock.now().wall - self._history_s

        def unit(transaction: Transaction) -> int:
            top = transaction.last_event_number()
            first = transaction.first_event_number(since=oldest) or top + 1
            return max(first, top + 1 - MAX_RESTORED)

        first = await self._store.read(unit)
        await self._restart(first)
        return first - 1

    async def _restart(self, first: int) -> None:
        log.warning("event_stream_made", extra={"first_sequence": first})
        await self._stream.restart(first)

    async def _sent(self, events: Sequence[Event], last: int) -> int:
        first = _number(events[0])
        if first != last + 1:
            # The numbers between belong to events that are not in this database, and never come.
            await self._restart(first)
        await self._stream.publish(events)
        return _number(events[-1])

    async def _after(self, last: int) -> Sequence[Event]:
        """The next events, numbered on disk, without a gap between them; none where there is nothing new."""

        def look(transaction: Transaction) -> tuple[Sequence[Event], bool]:
            return transaction.published_events(last, PAGE), bool(transaction.unpublished_events(1))

        numbered, is_new = await self._store.read(look)
        if not numbered and is_new:
            numbered = await self._store.write(lambda transaction: _number_new(transaction, last))
        return _without_gap(numbered)


def _number_new(transaction: Transaction, last: int) -> Sequence[Event]:
    """Numbers go on above both: a database that was restored may know less than the stream.

    A publisher that was ended a moment ago may have given numbers that were not there yet when it was looked for them.
    """
    if numbered := transaction.published_events(last, PAGE):
        return numbered
    first = max(transaction.last_event_number(), last) + 1
    fresh = [replace(event, number=number) for number, event in enumerate(transaction.unpublished_events(PAGE), first)]
    transaction.mark_published({event.sequence or 0: _number(event) for event in fresh})
    return fresh


def _without_gap(events: Sequence[Event]) -> Sequence[Event]:
    count = 0
    while count < len(events) and _number(events[count]) == _number(events[0]) + count:
        count += 1
    return events[:count]


def _number(event: Event) -> int:
    assert event.number is not None
    return event.number
