"""Whether another process still does something: it is asked again and again, and has to answer now and then."""

from collections.abc import Callable

from agent_manager.launcher.event_loop import EventLoop


class Watch:
    """Pings, until it ends or `on_hang` is called, which is told for how many seconds no pong came.

    What counts are pings that were not answered, and not the time: of a machine that stood still for a while everything
    stood still.
    """

    def __init__(
        self,
        loop: EventLoop,
        *,
        ping: Callable[[], None],
        on_hang: Callable[[float], None],
        interval_s: float,
        start_timeout_s: float,
        hang_timeout_s: float,
    ) -> None:
        """`start_timeout_s` holds until the first pong: who is still starting reads nothing yet."""
        self._loop = loop
        self._ping = ping
        self._on_hang = on_hang
        self._interval_s = interval_s
        self._start_timeout_s = start_timeout_s
        self._hang_timeout_s = hang_timeout_s
        self._has_answered = False
        self._unanswered = 0
        self._next = loop.call_later(0.0, self._go_on)

    def pong(self) -> None:
        """It has answered."""
        self._has_answered = True
        self._unanswered = 0

    def hasten(self, *, interval_s: float, hang_timeout_s: float) -> None:
        """From now on ask more often, and wait less long for who has answered before."""
        self._interval_s, self._hang_timeout_s = interval_s, hang_timeout_s
        self._unanswered = 0
        self._next.cancel()
        self._go_on()

    def end(self) -> None:
        """Ask no more."""
        self._next.cancel()

    def _go_on(self) -> None:
        silent_s = self._unanswered * self._interval_s
        if silent_s >= (self._hang_timeout_s if self._has_answered else self._start_timeout_s):
            self._on_hang(silent_s)
            return
        self._unanswered += 1
        self._next = self._loop.call_later(self._interval_s, self._go_on)
        self._ping()
