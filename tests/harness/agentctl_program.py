"""agentctl run as its users run it: a process with arguments, an environment and two streams."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import agent_manager

SOURCES = str(Path(agent_manager.__file__).parents[1])


def started(program: str) -> tuple[str, ...]:
    """What its script does."""
    return (sys.executable, "-c", f"from agent_manager.cli.programs import {program}; {program}()")


COMMAND = started("agentctl")


@dataclass(frozen=True, slots=True)
class Run:
    """What a run left behind."""

    exit_code: int | None
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The output as a document."""
        return json.loads(self.out)

    @property
    def rows(self) -> list[list[str]]:
        """The output as the words of its lines."""
        return [line.split() for line in self.out.splitlines()]


class Agentctl:
    """Runs it in `directory`, with `variables` and nothing else of note in its environment."""

    def __init__(self, directory: Path, *, command: tuple[str, ...] = COMMAND, **variables: str) -> None:
        self._directory = directory
        self._command = command
        self.environment = {"PATH": os.environ["PATH"], "PYTHONPATH": SOURCES, "TZ": "UTC", **variables}

    def program(self, name: str) -> Agentctl:
        """Another program, run in the same way."""
        return Agentctl(self._directory, command=started(name), **self.environment)

    async def __call__(self, *arguments: str, **variables: str) -> Run:
        """Run it to its end."""
        async with self.running(*arguments, **variables) as process:
            out, err = await process.communicate()
        return Run(process.returncode, out.decode(), err.decode())

    @asynccontextmanager
    async def running(self, *arguments: str, **variables: str) -> AsyncIterator[Process]:
        """Run it for as long as the block lasts, at most."""
        process = await asyncio.create_subprocess_exec(
            *self._command,
            *arguments,
            cwd=self._directory,
            env={**self.environment, **variables},
            stdout=PIPE,
            stderr=PIPE,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                # Not wait(): with a pipe that is full nobody hears of the end.
                await process.communicate()
