"""One reader's way through the events: those it has missed, from the stream, then those that happen, from the feed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from nats.aio.client import Client
from pydantic import BaseModel

from agent_manager.protocol.errors import RequestFailedError
from management_api import event_history
from management_api.event_feed import EventFilter
from management_api.manager_client import ManagerClient
from management_api.server_sent import frame, mark

LOOK_S = 5.0
"""How often a reader who hears nothing looks whether something was lost on the way."""
RETRY_S = 0.2
"""Pause while the stream cannot be read."""
STORING_S = 0.02
"""Pause while an event that was lost on the way is not in the stream yet; each one is longer by as much."""
LOOKS_FOR_STORED = 10
"""How often the stream is looked at before an id, or an event that was told live, counts as never given."""


class EventGap(BaseModel):
    """Events that cannot be told: how many, or None where that cannot be known."""

    events: int | None
    reason: str


class EventFollower:
    """Reads for one reader; `frames` is its stream of server-sent events."""

    def __init__(self, manager: ManagerClient, wanted: EventFilter, *, after: int | None) -> None:
        """`after` is the sequence of the last event the reader has; None begins with what happens from now on."""
        self._manager = manager
        self._wanted = wanted
        self._next = None if after is None else after + 1
        self._awaited: int | None = None
        """Up to this event the stream is waited for, because it was told live."""
        self._looks = 0

    async def begin(self) -> None:
        """Find out where to begin. Raises RequestFailedError (`unavailable`)."""
        ends = await event_history.ends(self._manager.check_connected())
        if self._next is None:
            self._next = ends.last + 1

    async def frames(self) -> AsyncGenerator[bytes]:
        """Events in order, each once; `gap` where some are gone. Waits for a bus that is away."""
        # A reader that has heard nothing yet can be gone on with, too.
        yield mark(str(self._position() - 1))
        while True:
            try:
                async for part in self._missed():
                    yield part
            except RequestFailedError:
                await asyncio.sleep(RETRY_S)
                continue
            while newest := self._manager.feed.since(self._position()):
                self._next = newest[-1].sequence + 1
                if wanted := [event.frame for event in newest if self._wanted.admits(event)]:
                    yield b"".join(wanted)
            if newest is None:
                await self._until_stored()
            else:
                self._awaited = None
                await self._manager.feed.wait(LOOK_S)

    async def _missed(self) -> AsyncGenerator[bytes]:
        """What the stream has and the feed has not. Pages are told before they are counted as told."""
        if self._manager.feed.since(self._position()):
            return
        client = self._manager.check_connected()
        ends, told = await self._ends(client)
        if (gap := self._gap(ends)) is not None:
            self._next = ends.last + 1 if gap.events is None else ends.first
            if told is not None and told > ends.last:
                self._manager.feed.lost()
            yield frame("gap", gap, event_id=str(self._position() - 1))
        async for page in event_history.read(client, self._wanted, first=self._position(), last=ends.last):
            if page:
                self._next = page[-1].sequence + 1
                yield b"".join(event.frame for event in page)
        self._next = max(self._position(), ends.last + 1)

    async def _ends(self, client: Client) -> tuple[event_history.StreamEnds, int | None]:
        """The ends of the stream, and the last event that has been told live for long enough to be within them.

        An event may be told live a moment before it is stored: only what stays away has never been there.
        """
        ends, told = await event_history.ends(client), None
        for _ in range(LOOKS_FOR_STORED):
            if self._position() <= ends.last + 1:
                break
            told = self._manager.feed.last
            await asyncio.sleep(RETRY_S)
            ends = await event_history.ends(client)
        return ends, told

    async def _until_stored(self) -> None:
        """Pause before the next look; what was told live and stays away from the stream is given up."""
        if self._awaited is None or self._position() >= self._awaited:
            self._awaited, self._looks = self._manager.feed.first, 0
        self._looks += 1
        if self._looks < LOOKS_FOR_STORED:
            await asyncio.sleep(self._looks * STORING_S)
        else:
            self._manager.feed.lost()
            self._awaited = None

    def _gap(self, ends: event_history.StreamEnds) -> EventGap | None:
        if self._position() > ends.last + 1:
            return EventGap(
                events=None, reason="this id has not been given yet: the stream was lost together with its database"
            )
        if self._position() < ends.first:
            return EventGap(events=ends.first - self._position(), reason="they are older than the stream keeps them")
        return None

    def _position(self) -> int:
        assert self._next is not None
        return self._next
