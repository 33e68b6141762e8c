"""A failure that may last: one fact, however often it is met."""

from __future__ import annotations

import logging


class Trouble:
    """Logged when it begins or has another cause, and once when it is over."""

    def __init__(self, log: logging.Logger, *, begins: str, ends: str) -> None:
        """`begins` and `ends` are the names of the two log events."""
        self._log = log
        self._begins = begins
        self._ends = ends
        self._cause: str | None = None

    @property
    def cause(self) -> str | None:
        """What it was met with last; None while it is not there."""
        return self._cause

    def met(self, cause: str, **facts: object) -> None:
        """It is there, or still there."""
        if cause != self._cause:
            self._log.warning(self._begins, extra={"error": cause, **facts})
        self._cause = cause

    def over(self) -> None:
        """It is not there (any more)."""
        if self._cause is not None:
            self._log.info(self._ends, extra={"was": self._cause})
        self._cause = None
