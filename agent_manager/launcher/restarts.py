"""When the launcher's own processes are started again: at once, then after 0.1 s doubling to 5 s."""

import time
from collections.abc import Callable

from agent_manager.launcher.event_loop import EventLoop, Timer

_FIRST_DELAY_S = 0.1
_LONGEST_DELAY_S = 5.0
_RESETTING_LIFE_S = 10.0


class Backoff:
    """The restart delays of one process."""

    def __init__(self) -> None:
        self._next_delay_s = 0.0

    def delay_s(self, *, lived_s: float) -> float:
        """How long to wait now that the process has ended after this many seconds; ten of them reset the delay."""
        if lived_s >= _RESETTING_LIFE_S:
            self._next_delay_s = 0.0
        delay_s = self._next_delay_s
        self._next_delay_s = min(max(_FIRST_DELAY_S, 2 * delay_s), _LONGEST_DELAY_S)
        return delay_s


class Restarter:
    """Calls `start` now, and again with backoff each time it is told that what was started has ended."""

    def __init__(self, loop: EventLoop, start: Callable[[], None]) -> None:
        self._loop = loop
        self._start = start
        self._backoff = Backoff()
        self._started_at = 0.0
        self._timer: Timer | None = None

    def start(self) -> None:
        """Start it."""
        self._started_at = time.monotonic()
        self._start()

    def restart(self) -> float:
        """It has ended, or could not be started: start it again after a delay, which is returned in seconds."""
        delay_s = self._backoff.delay_s(lived_s=time.monotonic() - self._started_at)
        self._timer = self._loop.call_later(delay_s, self.start)
        return delay_s

    def cancel(self) -> None:
        """Do not start it any more."""
        if self._timer is not None:
            self._timer.cancel()
