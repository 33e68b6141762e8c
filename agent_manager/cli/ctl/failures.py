"""How `agentctl` fails: an exit code and words that say what to do."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from agent_manager.protocol.errors import ErrorCode


class ExitCode(IntEnum):
    """What a script can tell apart."""

    OK = 0
    """Done."""
    FAILED = 1
    """The request was refused, or failed; the output could not be written."""
    USAGE = 2
    """Wrong usage."""
    NOT_FOUND = 3
    """No such agent."""
    CONFLICT = 4
    """The agent's present state does not allow it."""
    UNREACHABLE = 5
    """The API or a manager cannot be reached, or something else answers there."""
    NOT_DONE = 6
    """Accepted, but not done within the wait."""
    INTERRUPTED = 130
    """Interrupted (Ctrl-C)."""
    CLOSED_PIPE = 141
    """Whoever read the output has gone (a closed pipe)."""


EXPLAINED = """\b
Exit codes:
  0  done
  1  the request was refused, or failed; the output could not be written
  2  wrong usage
  3  no such agent
  4  the agent's present state does not allow it
  5  the API or a manager cannot be reached, or something else answers there
  6  accepted, but not done within the wait
  130  interrupted (Ctrl-C)
  141  whoever read the output has gone (a closed pipe)
"""

_OF_CODE: Mapping[str, ExitCode] = {
    ErrorCode.NOT_FOUND: ExitCode.NOT_FOUND,
    ErrorCode.CONFLICT: ExitCode.CONFLICT,
    ErrorCode.UNAVAILABLE: ExitCode.UNREACHABLE,
    ErrorCode.TIMEOUT: ExitCode.UNREACHABLE,
    ErrorCode.STALE: ExitCode.UNREACHABLE,
}


class AgentctlError(Exception):
    """A command cannot go on. `problem` is the API's answer where there was one."""

    def __init__(self, message: str, exit_code: ExitCode, *, problem: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code
        self.problem = problem


def exit_code_of(code: str) -> ExitCode:
    """The exit code for an error code of the wire."""
    return _OF_CODE.get(code, ExitCode.FAILED)
