"""How much of what a speaker says is listened to."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

SPEAKERS = 10_000
"""So many are remembered; of more, the one that has been quiet for longest is forgotten."""


class Admission:
    """A token bucket for each speaker: `burst` at once, and `rate` a second for ever."""

    def __init__(self, *, rate: float, burst: int, now: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._now = now
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def admits(self, speaker: str) -> bool:
        """Whether one more of `speaker` is to be listened to; if so it is counted."""
        now = self._now()
        left, since = self._left.pop(speaker, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._rate)
        is_admitted = left >= 1.0
        self._left[speaker] = (left - 1.0 if is_admitted else left, now)
        if len(self._left) > SPEAKERS:
            self._left.popitem(last=False)
        return is_admitted
