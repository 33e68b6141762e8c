"""One epoll loop with signals and timers. It wakes up for events and for timers that are due, and for nothing else."""

import contextlib
import heapq
import itertools
import os
import select
import signal
import time
from collections.abc import Callable, Iterable

from agent_manager.launcher.diagnostics import warn_of

READABLE = select.EPOLLIN
WRITABLE = select.EPOLLOUT

_SIGNALS_PER_READ = 4096


class Timer:
    """A callback that is due at a moment of CLOCK_MONOTONIC."""

    def __init__(self, due_at: float, callback: Callable[[], None]) -> None:
        self.due_at = due_at
        self._callback: Callable[[], None] | None = callback

    @property
    def cancelled(self) -> bool:
        """Whether it will not run (any more)."""
        return self._callback is None

    def cancel(self) -> None:
        """Never run it."""
        self._callback = None

    def fire(self) -> None:
        """Run it, once."""
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class EventLoop:
    """Calls back for descriptors, signals and timers. Callbacks must not block; one that fails is a warning."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, Callable[[], None]] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._signals: dict[int, Callable[[], None]] = {}
        self._after_events: list[Callable[[], None]] = []
        self._running = True
        self._wakeup, self._wakeup_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.watch(self._wakeup, self.dispatch_signals)

    def watch(self, descriptor: int, callback: Callable[[], None], events: int = READABLE) -> None:
        """Call back whenever the descriptor is ready, hung up or broken. Raises OSError."""
        self._epoll.register(descriptor, events)
        self._watched[descriptor] = callback

    def change(self, descriptor: int, events: int) -> None:
        """Wait for other events on a watched descriptor."""
        self._epoll.modify(descriptor, events)

    def unwatch(self, descriptor: int) -> None:
        """Forget a descriptor; call it before closing."""
        del self._watched[descriptor]
        self._epoll.unregister(descriptor)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Call back once, this many seconds from now."""
        timer = Timer(time.monotonic() + delay_s, callback)
        heapq.heappush(self._timers, (timer.due_at, next(self._order), timer))
        return timer

    def after_events(self, callback: Callable[[], None]) -> None:
        """Call back at the end of every round, after all that happened in it has been handled."""
        self._after_events.append(callback)

    def on_signals(self, numbers: Iterable[int], callback: Callable[[], None]) -> None:
        """Call back when one of these signals arrives."""
        for number in numbers:
            self._signals[number] = callback
            # The wakeup descriptor tells us, but it is only written to for signals that have a handler.
            signal.signal(number, lambda _number, _frame: None)
        signal.set_wakeup_fd(self._wakeup_writer, warn_on_full_buffer=False)

    def run(self) -> None:
        """Handle events until `stop` is called."""
        while self._running:
            ready = [(descriptor, self._watched[descriptor]) for descriptor, _ in self._epoll.poll(self._timeout_s())]
            for descriptor, callback in ready:
                # An earlier callback of this round may have closed it, and its number may be another's by now.
                if self._watched.get(descriptor) is callback:
                    _call(callback)
            self._fire_timers()
            for after_events in self._after_events:
                _call(after_events)

    def stop(self) -> None:
        """End `run` after this round."""
        self._running = False

    def close(self) -> None:
        """Free its descriptors. No signal calls back any more."""
        signal.set_wakeup_fd(-1)
        self._epoll.close()
        os.close(self._wakeup)
        os.close(self._wakeup_writer)

    def _timeout_s(self) -> float | None:
        while self._timers and self._timers[0][2].cancelled:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None

    def _fire_timers(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            _call(heapq.heappop(self._timers)[2].fire)

    def dispatch_signals(self) -> None:
        """Call back for the signals that have come so far."""
        with contextlib.suppress(BlockingIOError):
            for number in os.read(self._wakeup, _SIGNALS_PER_READ):
                callback = self._signals.get(number)
                if callback is not None:
                    _call(callback)


def _call(callback: Callable[[], None]) -> None:
    try:
        callback()
    except Exception as error:
        # Whatever it is, it must not take every process of the node with it.
        warn_of(error)
