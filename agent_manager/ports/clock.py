"""Time and chance."""

from __future__ import annotations

from typing import Protocol

from agent_manager.domain.clock import Now


class Clock(Protocol):
    """The present moment on both clocks."""

    def now(self) -> Now:
        """Read them."""
        ...


class Chance(Protocol):
    """Randomness."""

    def launch_id(self) -> str:
        """A fresh launch id: a subject token nobody has used before."""
        ...

    def jitter(self) -> float:
        """A number in [0, 1)."""
        ...
