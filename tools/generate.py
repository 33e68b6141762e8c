"""Writes what is generated from the code: reference pages and annotated settings files. `--check` only compares."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from agent_manager.adapters.packages.reference import renewed
from agent_manager.adapters.prometheus.definitions import METRICS as MANAGER_METRICS
from agent_manager.configuration.presentation import annotated_file, reference
from agent_manager.settings.manager import MANAGER
from agent_manager.telemetry.reference import reference as metrics_reference
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


def pages() -> Mapping[str, str]:
    """Every generated file, by its path in the repository."""
    return {
        "config/agent_manager.yaml": annotated_file(MANAGER),
        "config/management_api.yaml": annotated_file(API),
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
