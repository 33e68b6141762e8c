"""All checks, one after the other; one that breaks hides no other."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent_manager.configuration.loading import ConfigurationError
from agent_manager.configuration.program import Flag
from agent_manager.doctor import api, bus, database, files, host, node, packages
from agent_manager.doctor.findings import AsyncCheck, Check, Finding, Patient, Severity, fault, warning
from agent_manager.doctor.running import Start
from agent_manager.settings.manager import MANAGER

CHECKS: tuple[Check, ...] = (
    host.python_and_kernel,
    host.disk,
    host.open_files,
    host.watches,
    host.isolation,
    files.data_directory,
    files.keys,
    packages.packages,
    node.processes,
    node.ports,
)
ASYNC_CHECKS: tuple[AsyncCheck, ...] = (database.database, bus.bus, api.agents_and_packages)
"""Those that wait for something else."""


async def examine(
    environ: Mapping[str, str], *, config: Path | None = None, flags: Iterable[Flag] = ()
) -> AsyncIterator[Finding]:
    """Everything there is to say of the node that these settings describe; `flags` are those of the command line.

    A node that runs is looked at where it was started and with what it was started with, `config` and `flags` on top.
    """
    config, given = _absolute(config), [(flag, name, _absolute(value)) for flag, name, value in flags]
    with contextlib.ExitStack() as stack:
        try:
            loaded = MANAGER.load(environ, config=config, flags=given)
            data_dir = loaded.settings.data_dir
            is_running = node.is_running(data_dir)
            start = Start.of(data_dir) if is_running else None
            if start is not None:
                stack.enter_context(contextlib.chdir(start.directory))
                environ = start.environ
                loaded = MANAGER.load(environ, config=config, flags=[*given, ("--data-dir", "data_dir", data_dir)])
        except ConfigurationError as error:
            for wrong in error.faults:
                yield fault("settings", wrong, "mend it there; `agent-manager config template` prints every setting")
            return
        for key, awaited in loaded.without_effect():
            yield warning(
                "settings", f"{key.name} has no effect yet", f"remove it, or leave it for when {awaited} use it"
            )
        async for finding in _of(Patient(settings=loaded.settings, environ=environ, is_running=is_running)):
            yield finding


def _absolute(value: Any) -> Any:
    return value.absolute() if isinstance(value, Path) else value


async def _of(patient: Patient) -> AsyncIterator[Finding]:
    at_fault: set[str] = set()
    for check in (*map(_awaited, CHECKS), *ASYNC_CHECKS):
        try:
            async for finding in check(replace(patient, at_fault=frozenset(at_fault))):
                if finding.severity is Severity.FAULT:
                    at_fault.add(finding.subject)
                yield finding
        except Exception as error:
            yield _broken(check.__name__, error)


def _awaited(check: Check) -> AsyncCheck:
    @functools.wraps(check)
    async def awaited(patient: Patient) -> AsyncIterator[Finding]:
        for finding in check(patient):
            yield finding

    return awaited


def _broken(check: str, error: Exception) -> Finding:
    return fault(
        check.replace("_", " "),
        f"could not be examined: {type(error).__name__}: {error}",
        "run doctor as the user of the node; if it is that user, this is a mistake in doctor: report it",
    )
