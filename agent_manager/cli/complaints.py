"""What is wrong, as `agent-manager` tells it: on standard error, a line each, and in the exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from agent_manager.cli.exit_codes import ExitCode
from agent_manager.cli.printable import printable
from agent_manager.configuration.loading import ConfigurationError
from agent_manager.domain.errors import AgentManagerError


@contextmanager
def told() -> Iterator[None]:
    """Errors of the block end the program, with their words instead of a traceback."""
    try:
        yield
    except ConfigurationError as error:
        for fault in error.faults:
            complain(fault)
        raise typer.Exit(ExitCode.BAD_SETTINGS) from error
    except AgentManagerError as error:
        complain(error.message)
        raise typer.Exit(ExitCode.FAILED) from error


def complain(words: str) -> None:
    """Say it, and go on."""
    print(f"agent-manager: {printable(words)}", file=sys.stderr)
