"""Writes what is generated from the code: reference pages and annotated settings files. `--check` only compares."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator, Mapping
from enum import Enum, IntEnum
from pathlib import Path

from agent_manager import daemon
from agent_manager.adapters.packages.reference import renewed
from agent_manager.adapters.prometheus.definitions import METRICS as MANAGER_METRICS
from agent_manager.cli import exit_codes
from agent_manager.cli.ctl import failures
from agent_manager.configuration.presentation import annotated_file, reference
from agent_manager.domain.exits import Exit, ExitReason
from agent_manager.launcher import exit_codes as launcher
from agent_manager.sdk import ending
from agent_manager.settings.manager import MANAGER
from agent_manager.telemetry.reference import reference as metrics_reference
from management_api import exit_codes as api
from management_api.metrics import METRICS as API_METRICS
from management_api.settings import API

ROOT = Path(__file__).parents[1]

_SETTINGS = """\
# Settings

Made by `make reference` from the code. [How settings are found](../configuration.md) tells which place wins.

## `agent-manager`

The manager and its node: `config/agent_manager.yaml`, variables `AGENT_MANAGER_…`.

{manager}
## `management-api`

The HTTP API: `config/management_api.yaml`, variables `MANAGEMENT_API_…`.

{api}"""

_METRICS = """\
# Metrics

Made by `make reference` from the code. [Observability](../observability.md) tells how to scrape them, and has the
dashboard and the alerts.

Both programs have the process metrics of the Prometheus client library too (`process_cpu_seconds_total`,
`process_resident_memory_bytes`, `process_open_fds` …).

## Manager

{manager}
## Management API

{api}"""


_EXIT_CODES = """\
# Exit codes

Made by `make reference` from the code.

A program that a signal ends has no exit code of its own; shells tell it as 128 and the signal's number.

## agent-manager

{agent_manager}

`up` and `run` prepare the node and then become the [launcher](#launcher), in the same process.

## launcher

{launcher}

What ends below it, it starts again, whatever the code. These are what its log and the status of the unit or the
container tell.

## manager

{manager}

## management-api

{api}

## agentctl

{agentctl}

With several agents it is the code of the first that failed; the others are changed all the same.

## Agents

An agent may end with any code; one that is written with the [SDK](../sdk.md) ends with these:

{agent}

### What is recorded

An exit has `code`, or `signal` (its number, with `core_dumped`), as the kernel told it, and a `reason`, which the
manager knows. Both are null where there was no process (`start-failed`), and where the process ended while no manager
looked and only the record in the database has them.

{reasons}

A failure is what the restart policy `on-failure` counts as one. What follows is the business of the
[restart policy](../manifest.md), but for what no restart can mend: an agent that ends with 78, 126 or 127, or with the
error of a module that cannot be loaded as its last words (`ModuleNotFoundError`, `ImportError`, `SyntaxError` and the
like in Python, `Cannot find module` in Node), within its `readiness.timeout_s`, is not started again. Its status is
`error`, with these words, until its package changes or somebody starts it. A launch that was asked to stop has the
reason of the stop, whatever its code: one that needed SIGKILL is `requested`, with signal 9. A kill by the kernel for
want of memory is `oom` where the node has cgroups with the memory controller, else a `crash` with signal 9.

`agentctl show` and `last_exit` in the [HTTP API](../http.md) have them, events of the type `exited` too, and
`agent_manager_exits_total` [counts](metrics.md) them by reason.

## Under systemd

The units restart after every end (`Restart=always`); none of these codes has a meaning of its own in them (no
`RestartPreventExitStatus=`, `SuccessExitStatus=` or `RestartForceExitStatus=`). Wrong settings show as a unit that
starts again every second with status 2, and its log tells which. To keep it down instead: `RestartPreventExitStatus=2`
in a drop-in.
"""


def meanings(codes: type[Enum]) -> Mapping[str, str]:
    """What stands below each member of an enumeration, by its name, in one line."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(codes))).body
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for member, words in zip(definition.body, definition.body[1:], strict=False):
        match member, words:
            case ast.Assign(targets=[ast.Name(id=name)]), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = " ".join(text.split())
    return found


def _codes(codes: type[IntEnum]) -> str:
    said = meanings(codes)
    rows = (f"| {code.value} | {said[code.name]} |" for code in codes)
    return "\n".join(("| code | |", "| --- | --- |", *rows))


def _reasons() -> Iterator[str]:
    said = meanings(ExitReason)
    yield "| reason | | failure |"
    yield "| --- | --- | --- |"
    for reason in ExitReason:
        failed = Exit(launch_id="", incarnation=1, reason=reason, message="", at=0.0).failed
        yield f"| `{reason.value}` | {said[reason.name]} | {'yes' if failed else 'no'} |"


def pages() -> Mapping[str, str]:
    """Every generated file, by its path in the repository."""
    return {
        "config/agent_manager.yaml": annotated_file(MANAGER),
        "config/management_api.yaml": annotated_file(API),
        "docs/reference/exit-codes.md": _EXIT_CODES.format(
            agent_manager=_codes(exit_codes.ExitCode),
            launcher=_codes(launcher.ExitCode),
            manager=_codes(daemon.ExitCode),
            api=_codes(api.ExitCode),
            agentctl=_codes(failures.ExitCode),
            agent=_codes(ending.ExitCode),
            reasons="\n".join(_reasons()),
        ),
        "docs/reference/metrics.md": _METRICS.format(
            manager=metrics_reference(MANAGER_METRICS), api=metrics_reference(API_METRICS)
        ),
        "docs/manifest.md": renewed((ROOT / "docs/manifest.md").read_text(encoding="utf-8")),
        "docs/reference/settings.md": _SETTINGS.format(manager=reference(MANAGER), api=reference(API)).rstrip() + "\n",
    }


def main(arguments: list[str]) -> int:
    """Write, or with `--check` name what is stale; the exit code."""
    stale = [name for name, text in pages().items() if not _is(ROOT / name, text)]
    for name in stale:
        if "--check" not in arguments:
            (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / name).write_text(pages()[name], encoding="utf-8")
        print(name)
    return 1 if stale and "--check" in arguments else 0


def _is(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
