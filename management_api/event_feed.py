"""The newest events, as they come over the bus: one copy for everybody who watches, in bounded memory."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from agent_manager.protocol.messages import EventMessage
from agent_manager.protocol.subjects import parse_agent_event
from agent_manager.telemetry.structured import structlog
from management_api.server_sent import frame

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events a reader wants: of one agent, of one type, or all."""

    agent_id: str | None = None
    type: str | None = None

    def admits(self, event: SentEvent) -> bool:
        """Whether the event is one of them."""
        return self.agent_id in (None, event.agent_id) and self.type in (None, event.type) and bool(event.frame)


@dataclass(frozen=True, slots=True)
class SentEvent:
    """An event ready to be sent; one that nobody can read has its place and an empty frame."""

    sequence: int
    agent_id: str | None
    type: str | None
    frame: bytes


class EventFeed:
    """Keeps the newest events without a gap between them, at most `limit_bytes`, and wakes those who wait for more.

    What is published is what the stream holds under the same sequence: whoever misses some reads them there.
    """

    def __init__(self, *, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._events: deque[SentEvent] = deque()
        self._size = 0
        self._news = asyncio.Event()
        self.waiting = 0
        """Readers who have heard all there is."""

    def publish(self, subject: str, body: bytes) -> None:
        """Take an event as it came from the bus. What is told again, after an answer was lost, is passed over."""
        event = sent_event(subject, body)
        if event is None:
            return
        if self._events and event.sequence <= self._events[-1].sequence:
            return
        if self._events and event.sequence > self._events[-1].sequence + 1:
            self._forget()
        self._events.append(event)
        self._size += len(event.frame)
        while self._size > self._limit_bytes and len(self._events) > 1:
            self._size -= len(self._events.popleft().frame)
        self._news.set()
        self._news = asyncio.Event()

    def since(self, sequence: int) -> Sequence[SentEvent] | None:
        """What is here from a sequence on; None where that is missing here and has to be read in the stream."""
        if not self._events or sequence > self._events[-1].sequence:
            return ()
        first = self._events[0].sequence
        if sequence < first:
            return None
        return [self._events[place] for place in range(sequence - first, len(self._events))]

    @property
    def first(self) -> int | None:
        """The sequence of the oldest event that is here."""
        return self._events[0].sequence if self._events else None

    @property
    def last(self) -> int | None:
        """The sequence of the newest event that is here."""
        return self._events[-1].sequence if self._events else None

    def lost(self) -> None:
        """The connection was lost, or the stream has not what is here: what comes next need not follow on it."""
        self._forget()

    async def wait(self, timeout_s: float) -> None:
        """Return when there are more events, or `timeout_s` are over."""
        self.waiting += 1
        try:
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        except TimeoutError:
            return
        finally:
            self.waiting -= 1

    def _forget(self) -> None:
        self._events.clear()
        self._size = 0


def sent_event(subject: str, body: bytes, sequence: int | None = None) -> SentEvent | None:
    """An event from the bus, whose subject decides whose it is and of which type.

    `sequence` is its place in the stream, where it was read there; else it says so itself, or is None.
    """
    parsed = parse_agent_event(subject)
    try:
        message = EventMessage.model_validate_json(body)
    except ValidationError as error:
        _log.warning("event_unreadable", subject=subject, error=f"{error.error_count()} fields are wrong")
        return None if sequence is None else SentEvent(sequence, None, None, b"")
    place = message.sequence if sequence is None else sequence
    if parsed is None:
        return SentEvent(place, None, None, b"")
    agent_id, type_ = parsed
    told = message.model_copy(update={"agent_id": agent_id, "type": type_, "sequence": place})
    return SentEvent(place, agent_id, type_, frame(type_, told, event_id=str(place)))
