"""Moments on CLOCK_BOOTTIME, which goes on while the machine is suspended: what passed then is due on waking."""

import contextlib
import heapq
import os
import time
from collections.abc import Callable

from agent_manager.launcher import linux
from agent_manager.launcher.event_loop import EventLoop

_TIMER_READ_BYTES = 8


class Deadlines:
    """At most one deadline per key."""

    def __init__(self, loop: EventLoop, on_due: Callable[[str], None]) -> None:
        """Raises OSError where the kernel has no such timers."""
        self._on_due = on_due
        self._due_at: dict[str, float] = {}
        self._queue: list[tuple[float, str]] = []
        self._timer = linux.boottime_timer()
        loop.watch(self._timer, self._on_timer)

    def set(self, key: str, due_at: float | None) -> None:
        """Replace a key's deadline (seconds of CLOCK_BOOTTIME), or take it away."""
        if due_at is None:
            self._due_at.pop(key, None)
        else:
            self._due_at[key] = due_at
            heapq.heappush(self._queue, (due_at, key))
        self._arm()

    def _arm(self) -> None:
        while self._queue and self._due_at.get(self._queue[0][1]) != self._queue[0][0]:
            heapq.heappop(self._queue)  # replaced meanwhile
        linux.arm_timer(self._timer, self._queue[0][0] if self._queue else None)

    def _on_timer(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._timer, _TIMER_READ_BYTES)
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        for key in [key for key, due_at in self._due_at.items() if due_at <= now]:
            del self._due_at[key]
            self._on_due(key)
        self._arm()
