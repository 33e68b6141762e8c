"""What people see: consoles, and words that are safe to print."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime

from rich.console import Console
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


class Output(Console):
    """Standard output. On a terminal with colours, unless NO_COLOR is set; without one, nothing is cut."""

    def __init__(self) -> None:
        is_terminal = sys.stdout.isatty()
        # With `no_color` alone, bold and dim would still be written.
        super().__init__(
            width=None if is_terminal else UNLIMITED_WIDTH,
            highlight=False,
            color_system=None if os.environ.get("NO_COLOR") else "auto",
        )

    def on_broken_pipe(self) -> None:
        """Leave it to whoever ends the program, where rich would end it itself."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def out() -> Output:
    """Standard output as it is now."""
    return Output()


def complain(message: str) -> None:
    """Say what went wrong, on standard error."""
    with suppress(BrokenPipeError):
        # Nobody is left who could be told.
        print(f"agentctl: {printable(message)}", file=sys.stderr)


def text(value: object, style: str = "") -> Text:
    """Words; what other programs wrote into them is shown, never interpreted. None is shown as a hyphen."""
    return Text("-" if value is None else printable(str(value)), style=style)


def name(value: object, style: str = "") -> Text:
    """Words that stay on one line, whatever is in them."""
    return text(value if value is None else str(value).replace("\n", "\N{REPLACEMENT CHARACTER}"), style)


def status(value: str) -> Text:
    """A lifecycle, an availability or the status of something, in its colour."""
    return name(value, _STYLES.get(value, ""))


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


def size(count: float) -> str:
    """Bytes in the largest unit that leaves a digit before the point, such as 20.1 MiB."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


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
