"""How a process ended, as the kernel told it, and why, as the supervisor knows it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

_FAULTS_BY_CODE = {
    78: "it says that its configuration is wrong (exit code 78, as in sysexits.h)",
    126: "a command cannot be executed (exit code 126)",
    127: "a command was not found (exit code 127)",
}
_FAULT_OF_PYTHON = re.compile(
    r"(ModuleNotFoundError|ImportError|SyntaxError|IndentationError|TabError): "
    r"|agent_manager\.sdk\.errors\.DefinitionError: "
)
"""The last line of a Python program that could not be loaded."""
_LAST_WORDS_OF_NODE, _FAULT_OF_NODE = "Node.js v", "Error: Cannot find module "


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
    OOM = "oom"
    """The kernel has killed it, or processes of it, for want of memory: its limit, or the machine's."""
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
    oom_killed: bool = False
    last_lines: LastLines | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Exit:
    """The record of one ended launch: the facts of `ProcessExit`, with a reason and a message.

    `early`: it was not ready for as long as its start might have taken.
    """

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
    early: bool = False
    last_lines: LastLines | None = None

    @property
    def failed(self) -> bool:
        """Whether a policy `on-failure` counts this as a failure."""
        return self.reason not in (ExitReason.REQUESTED, ExitReason.COMPLETED)

    @property
    def fault(self) -> str | None:
        """What will be just as wrong at the next start, where that can be told: a typo needs a person, not a restart.

        Its last lines tell most of it, and come a moment after the exit.
        """
        if self.reason is not ExitReason.CRASH or not self.code:
            return None
        if self.code in _FAULTS_BY_CODE:
            return _FAULTS_BY_CODE[self.code]
        if self.last_lines is None:
            return None
        said = [line for line in self.last_lines.err or self.last_lines.out if line.strip()]
        if said and said[-1].startswith(_LAST_WORDS_OF_NODE):
            return next((line for line in said if line.startswith(_FAULT_OF_NODE)), None)
        return said[-1] if said and _FAULT_OF_PYTHON.match(said[-1]) else None
