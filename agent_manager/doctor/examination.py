"""All checks, one after the other; one that breaks hides no other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from agent_manager.configuration.loading import ConfigurationError
from agent_manager.doctor import api, bus, database, files, host, node
from agent_manager.doctor.findings import AsyncCheck, Check, Finding, Patient, fault, warning
from agent_manager.settings.manager import MANAGER

CHECKS: tuple[Check, ...] = (
    host.python_and_kernel,
    host.disk,
    host.open_files,
    host.watches,
    host.isolation,
    files.data_directory,
    files.keys,
    files.packages,
    node.processes,
    node.ports,
)
ASYNC_CHECKS: tuple[AsyncCheck, ...] = (database.database, bus.bus, api.agents_and_packages)
"""Those that wait for something else."""


async def examine(
    environ: Mapping[str, str], *, config: Path | None = None, data_dir: Path | None = None
) -> AsyncIterator[Finding]:
    """Everything there is to say of the node that these settings describe."""
    try:
        loaded = MANAGER.load(environ, config=config, flags=[("--data-dir", "data_dir", data_dir)])
    except ConfigurationError as error:
        for wrong in error.faults:
            yield fault("settings", wrong, "mend it there; `agent-manager config show` tells what is in force")
        return
    for key, awaited in loaded.without_effect():
        yield warning("settings", f"{key.name} has no effect yet", f"remove it, or leave it for when {awaited} use it")
    settings = loaded.settings
    patient = Patient(settings=settings, environ=environ, is_running=node.is_running(settings.data_dir))
    for check in CHECKS:
        try:
            for finding in check(patient):
                yield finding
        except Exception as error:
            yield _broken(check.__name__, error)
    for waiting in ASYNC_CHECKS:
        try:
            async for finding in waiting(patient):
                yield finding
        except Exception as error:
            yield _broken(waiting.__name__, error)


def _broken(check: str, error: Exception) -> Finding:
    return fault(
        check.replace("_", " "),
        f"could not be examined: {type(error).__name__}: {error}",
        "run doctor as the user of the node; if it is that user, this is a mistake in doctor: report it",
    )
