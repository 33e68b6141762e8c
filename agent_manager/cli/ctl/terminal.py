"""What people see: consoles, tables, and words that are safe to print."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agent_manager.cli.printable import printable
from agent_manager.protocol.resources import AgentView, InstanceView

UNLIMITED_WIDTH = 1_000_000
"""Of a console that is no terminal: nothing is cut or folded there."""

_PIDS_SHOWN = 4

_STYLES: Mapping[str, str] = {
    **dict.fromkeys(("active", "running", "healthy", "available"), "green"),
    **dict.fromkeys(
        (
            "busy",
            "registering",
            "draining",
            "starting",
            "stopping",
            "backoff",
            "inactive",
            "paused",
            "initializing",
            "preparing",
        ),
        "yellow",
    ),
    **dict.fromkeys(("error", "failed", "unhealthy", "invalid"), "red"),
    **dict.fromkeys(("offline", "stopped", "ready", "created", "terminated", "unknown", "unavailable"), "dim"),
}


def out() -> Console:
    """Standard output. Colours only on a terminal, and not with NO_COLOR."""
    return Console(width=None if sys.stdout.isatty() else UNLIMITED_WIDTH, highlight=False)


def complain(message: str) -> None:
    """Say what went wrong, on standard error."""
    print(f"agentctl: {printable(message)}", file=sys.stderr)


def print_json(document: Any) -> None:
    """Print a document of the API on one line."""
    print(json.dumps(document, ensure_ascii=False), flush=True)


def table(*headings: str, whole: Iterable[str] = ()) -> Table:
    """An empty table without lines. Where a terminal is too narrow columns fold, except those named in `whole`."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in headings:
        made.add_column(heading, overflow="fold", no_wrap=heading in whole)
    return made


def text(value: object, style: str = "") -> Text:
    """A cell; what other programs wrote into it is shown, never interpreted. None is shown as a hyphen."""
    return Text("-" if value is None else printable(str(value)), style=style)


def name(value: str, style: str = "") -> Text:
    """A cell that stays on one line, whatever is in the name."""
    return text(value.replace("\n", "\N{REPLACEMENT CHARACTER}"), style)


def status(value: str) -> Text:
    """A lifecycle, an availability or the status of something, in its colour."""
    return text(value, _STYLES.get(value, ""))


def moment(at: datetime | None) -> str | None:
    """A time as the clock on the wall shows it."""
    return None if at is None else at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def duration(seconds: float) -> str:
    """A length of time in its two largest units, such as 3m12s."""
    whole = max(0, int(seconds))
    for unit_s, unit, part_s, part in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= unit_s:
            return f"{whole // unit_s}{unit}{whole % unit_s // part_s:02d}{part}"
    return f"{whole}s"


def digest(value: str | None) -> str | None:
    """As much of a digest as tells versions apart."""
    return None if value is None else value[:12]


def pids(instances: Iterable[InstanceView]) -> str | None:
    """The process ids, the first ones where there are many; None where there is none."""
    present = [str(instance.pid) for instance in instances if instance.pid is not None]
    shown = ", ".join(present[:_PIDS_SHOWN])
    return (shown if len(present) <= _PIDS_SHOWN else f"{shown}, … {len(present)} in all") or None


def uptime(instances: Iterable[InstanceView], now: datetime) -> str | None:
    """How long the youngest process has been there; None where there is none."""
    starts = [instance.started_at for instance in instances if instance.pid is not None and instance.started_at]
    return duration((now - max(starts)).total_seconds()) if starts else None


def running(agent: AgentView) -> list[InstanceView]:
    """The instances of an agent that are running."""
    return [instance for instance in agent.instances if instance.status == "running"]
