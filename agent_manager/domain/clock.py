"""Moments, given from outside."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Now:
    """One moment on the two clocks that matter.

    `mono` is seconds of the host's monotonic clock: the same for every process of the host until it boots again, never
    stepped, hence what intervals and deadlines are measured with, across restarts of the manager too. `wall` is Unix
    seconds, for people.
    """

    mono: float
    wall: float
