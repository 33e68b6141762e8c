"""Whether this node could have heard its agents: silence counts only while it could."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from agent_manager.ports.clock import Clock
from agent_manager.ports.observation import UNOBSERVED, Observer

SETTLE_S = 5.0
"""After the bus came back agents need this long to reconnect; silence is measured from then on."""
PULSE_S = 1.0
"""How often the pulse is felt, and the server asked for a sign of life."""
ROUND_TRIP_S = 1.0
"""A server that has not answered for so long brings no heartbeats either, though it is connected still."""
PULSE_TOLERANCE_S = 2.0
"""A longer gap means that this process was held up (stopped, starved, suspended) and has heartbeats waiting unread."""

log = logging.getLogger(__name__)


class Eyesight:
    """Knows since when heartbeats could have been received without interruption."""

    def __init__(self, clock: Clock, observer: Observer = UNOBSERVED) -> None:
        self._clock = clock
        self._observer = observer
        self._since: float | None = None
        self._connected = False
        self._pulse_at = clock.now().mono
        self._heard = False
        self._on_change: list[Callable[[], None]] = []

    @property
    def since(self) -> float | None:
        """Monotonic seconds; None while the bus is away or does not answer."""
        return self._since

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call `callback` whenever `since` has changed."""
        self._on_change.append(callback)

    def opened(self) -> None:
        """The bus is connected and subscribed."""
        self._connected = True
        self._set(self._clock.now().mono + SETTLE_S)

    def closed(self) -> None:
        """The bus is away."""
        self._connected = False
        self._set(None)

    def heard(self) -> None:
        """A heartbeat has come: the server brings them."""
        self._heard = True

    async def run(
        self, round_trip: Callable[[float], Awaitable[bool]], is_behind: Callable[[], bool] = lambda: False
    ) -> None:
        """Feel the pulse, for ever. `round_trip` tells whether the server answered within the seconds it is given.

        It is asked only where no heartbeat has come since the last pulse, which proves the same. `is_behind` tells that
        heartbeats have come and wait unread: what has not been heard then is no silence.
        """
        while True:
            due_at = self._clock.now().mono + PULSE_S
            await asyncio.sleep(PULSE_S)
            self._observer.loop_lagged(max(0.0, self._clock.now().mono - due_at))
            self.check_pulse()
            heard, self._heard = self._heard, False
            behind = is_behind()
            answered = not behind and (heard or await round_trip(ROUND_TRIP_S))
            self.check_pulse()
            self.looked(answered=answered, behind=behind)

    def looked(self, *, answered: bool, behind: bool = False) -> None:
        """The server has answered in time, or has not, or was not asked since heartbeats wait unread (`behind`).

        Whether it is connected, `opened` and `closed` tell.
        """
        if not self._connected or answered is (self._since is not None):
            return
        if answered:
            log.info("bus_answers")
            self._set(self._clock.now().mono + SETTLE_S)
        else:
            if behind:
                log.warning("heartbeats_unread")
            else:
                log.warning("bus_silent", extra={"waited_s": ROUND_TRIP_S, "detail": "no agent's silence counts"})
            self._set(None)

    def check_pulse(self) -> None:
        """Feel the pulse; after a gap, measuring begins anew."""
        now = self._clock.now().mono
        gap_s, self._pulse_at = now - self._pulse_at, now
        if gap_s > PULSE_TOLERANCE_S and self._since is not None:
            self._set(now + SETTLE_S)

    def _set(self, since: float | None) -> None:
        self._since = since
        for callback in self._on_change:
            callback()
