"""The commands of its own that an agent is carrying out at this moment, bounded in number."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from agent_manager.protocol.errors import ErrorCode
from agent_manager.sdk.errors import CommandError

_CANCELLATION_S = 1.0
"""How long cancelled commands may take to end."""


class CommandSlots:
    """At most `limit` tasks at once; what comes beyond is refused, never queued: its sender can go elsewhere."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._running: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def load(self) -> float:
        """From 0 (idle) to 1 (full)."""
        return len(self._running) / self._limit

    @contextmanager
    def occupied(self, task: asyncio.Task[None]) -> Iterator[None]:
        """Hold a slot for `task`. Raises CommandError (`busy`) when there is none."""
        if len(self._running) >= self._limit:
            raise CommandError(
                f"the agent is carrying out {self._limit} commands already, which is its limit; ask again later",
                code=ErrorCode.BUSY,
                retryable=True,
                detail={"limit": self._limit},
            )
        self._running.add(task)
        self._idle.clear()
        try:
            yield
        finally:
            self._running.discard(task)
            if not self._running:
                self._idle.set()

    async def idle(self) -> None:
        """Wait until nothing is being carried out."""
        await self._idle.wait()

    async def finish(self, grace_s: float) -> None:
        """Wait until nothing is being carried out; what still is after `grace_s` seconds is cancelled."""
        if self._running:
            await asyncio.wait(self._running, timeout=grace_s)
        left = set(self._running)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=_CANCELLATION_S)
