"""How `agentctl` ends: whatever happened becomes an exit code, and words where there are any to say."""

from __future__ import annotations

import sys
from collections.abc import Callable

from agent_manager.cli.ctl import terminal
from agent_manager.cli.ctl.failures import AgentctlError, ExitCode
from agent_manager.cli.programs import let_go_of_output


def concluded(run: Callable[[], ExitCode]) -> ExitCode:
    """Run it, and say what went wrong. Raises what nobody has foreseen."""
    return _guarded(run) or _guarded(_flush)


def _guarded(run: Callable[[], ExitCode]) -> ExitCode:
    try:
        return run()
    except KeyboardInterrupt:
        # Perhaps nobody reads it any more.
        let_go_of_output()
        return ExitCode.INTERRUPTED
    except Exception as error:
        return _told(_first(error))


def _flush() -> ExitCode:
    sys.stdout.flush()
    return ExitCode.OK


def _first(error: Exception) -> Exception:
    """What a task group has wrapped."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _told(error: Exception) -> ExitCode:
    match error:
        case AgentctlError():
            terminal.complain(error.message)
            return error.exit_code
        case BrokenPipeError():
            let_go_of_output()
            return ExitCode.CLOSED_PIPE
        case OSError():
            let_go_of_output()
            terminal.complain(f"standard output cannot be written: {error.strerror or error}")
            return ExitCode.FAILED
        case _:
            raise error
