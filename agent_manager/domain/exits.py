"""How a process ended, as the kernel told it, and why, as the supervisor knows it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ExitReason(StrEnum):
    """Why a launch ended."""

    REQUESTED = "requested"
    """A stop or restart somebody asked for."""
    COMPLETED = "completed"
    """It ended by itself with code 0."""
    CRASH = "crash"
    """It ended by itself with another code or by a signal."""
    WATCHDOG = "watchdog"
    """Killed because it was silent for too long."""
    START_TIMEOUT = "start-timeout"
    """Stopped because it did not become ready in time."""
    START_FAILED = "start-failed"
    """It could not be started at all; there was no process."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LastLines:
    """The end of what a launch has written to its standard output and its standard error."""

    out: tuple[str, ...] = ()
    err: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessExit:
    """What `wait4` reported of one main process. Times are Unix seconds; exactly one of `code` and `signal` is set.

    `last_lines` is None until all its output is saved.
    """

    launch_id: str
    pid: int
    code: int | None
    signal: int | None
    core_dumped: bool
    max_rss_kb: int
    user_s: float
    system_s: float
    started_at: float
    ended_at: float
    last_lines: LastLines | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Exit:
    """The record of one ended launch: the facts of `ProcessExit`, with a reason and a message."""

    launch_id: str
    incarnation: int
    reason: ExitReason
    message: str
    at: float
    code: int | None = None
    signal: int | None = None
    core_dumped: bool = False
    pid: int | None = None
    started_at: float | None = None
    max_rss_kb: int = 0
    user_s: float = 0.0
    system_s: float = 0.0
    last_lines: LastLines | None = None

    @property
    def failed(self) -> bool:
        """Whether a policy `on-failure` counts this as a failure."""
        return self.reason not in (ExitReason.REQUESTED, ExitReason.COMPLETED)
