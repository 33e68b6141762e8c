"""Live output, published while somebody follows.

A follower subscribes, then asks from which byte on it wants to read: it is given what is there, and for the time of a
lease what follows is published. Asking again renews the lease and tells what was lost on the way. Nothing is kept for a
follower but the moment its lease ends: one that dies is forgotten by then, and one that is slow reads from the files.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from agent_manager.domain.errors import UnavailableError
from agent_manager.ports.bus import LogChannel
from agent_manager.ports.clock import Clock
from agent_manager.ports.processes import OUTPUT_STREAMS, LogPiece, Logs
from agent_manager.services.trouble import Trouble

POLL_S = 0.2
"""How often the files of what is followed are looked at."""
PATIENCE_S = 1.0
"""How long the end of a line is waited for before its beginning is published."""
MAX_PIECE_BYTES = 40_000
"""Most bytes of a stream in one piece, and of a line; JSON makes up to six of each."""

log = logging.getLogger(__name__)

_Stream = tuple[str, str]
"""Instance id, `out` or `err`."""


@dataclass(slots=True)
class _Live:
    """Published up to `end`. A line without its end has `held` bytes since `held_since` (seconds, monotonic)."""

    end: int
    held: int = 0
    held_since: float = 0.0
    unreadable: Trouble = field(default_factory=lambda: Trouble(log, begins="log_not_followed", ends="log_followed"))


class LogFollowing:
    """Leases, and the one task that reads for them: `run`."""

    def __init__(self, *, logs: Logs, channel: LogChannel, clock: Clock) -> None:
        self._logs = logs
        self._channel = channel
        self._clock = clock
        self._leases: dict[str, float] = {}
        self._live: dict[_Stream, _Live] = {}
        self._wanted = asyncio.Event()

    @property
    def followed(self) -> frozenset[str]:
        """Instances whose output is being published."""
        return frozenset(self._leases)

    async def follow(
        self, instance_id: str, *, starts: Mapping[str, int], tail: int, lease_s: float
    ) -> Mapping[str, LogPiece]:
        """By stream, what is there from its byte in `starts` on, else the last `tail` lines; then publish what follows.

        Raises UnavailableError when a file cannot be read.
        """
        until = self._clock.now().mono + lease_s
        pieces = {stream: await self._piece(instance_id, stream, starts, tail) for stream in OUTPUT_STREAMS}
        if lease_s > 0:
            self._leases[instance_id] = max(until, self._leases.get(instance_id, until))
            for stream, piece in pieces.items():
                self._live.setdefault((instance_id, stream), _Live(piece.end))
            self._wanted.set()
        return pieces

    async def run(self) -> None:
        """Publish what is followed, for ever."""
        while True:
            await self._wanted.wait()
            behind = False
            for stream, live in list(self._live.items()):
                behind |= await self._publish(stream, live)
            self._end_leases()
            await asyncio.sleep(0 if behind else POLL_S)

    async def _piece(self, instance_id: str, stream: str, starts: Mapping[str, int], tail: int) -> LogPiece:
        if stream in starts:
            return await self._logs.piece(instance_id, stream, start=starts[stream], max_bytes=MAX_PIECE_BYTES)
        return await self._logs.last(instance_id, stream, lines=tail, max_bytes=MAX_PIECE_BYTES)

    async def _publish(self, stream: _Stream, live: _Live) -> bool:
        """One piece at most, so that no stream waits for another; True where there is more."""
        now = self._clock.now().mono
        ripe = live.held > 0 and now - live.held_since >= PATIENCE_S
        try:
            piece = await self._logs.piece(*stream, start=live.end, max_bytes=MAX_PIECE_BYTES, unfinished=ripe)
        except UnavailableError as error:
            live.unreadable.met(error.message)
            return False
        live.unreadable.over()
        if piece.held != live.held:
            live.held, live.held_since = piece.held, now
        if piece.lines and not await self._channel.lines(*stream, piece):
            return False
        live.end = piece.end
        return piece.more

    def _end_leases(self) -> None:
        now = self._clock.now().mono
        for instance_id in [name for name, until in self._leases.items() if until <= now]:
            del self._leases[instance_id]
            for stream in OUTPUT_STREAMS:
                del self._live[instance_id, stream]
        if not self._leases:
            self._wanted.clear()
