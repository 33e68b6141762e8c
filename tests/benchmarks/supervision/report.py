"""The table: each contender's medians, and how many times better this project is than what it is compared with."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from tests.benchmarks.supervision.measurements import Crowd, Outcome


@dataclass(frozen=True, slots=True)
class Target:
    """What is promised: a field of the outcome against a contender's, as a least ratio; or against a bound."""

    field: str
    what: str
    against: str | None = None
    at_least: float | None = None
    at_most: float | None = None


AGENT_TARGETS = (
    Target("all_up_s", "all up, against PM2", against="PM2", at_least=8.0),
    Target("respawn_p50_ms", "kill to heartbeat p50, against PM2", against="PM2", at_least=5.0),
    Target("memory_mb", "memory per agent, against PM2", against="PM2", at_least=3.0),
    Target("idle_cpu", "idle CPU of the daemon", at_most=0.005),
    Target("daemon_rss_mb", "RSS of the daemon, MB", at_most=80.0),
    Target("orphans", "orphans after its death", at_most=0),
    Target("duplicates", "duplicates after its death", at_most=0),
)
CROWD_BARE, CROWD_CPU = 1.46, 0.03
"""At most so many times as long as the bare forks, and so much of a core."""

EXECUTABLE_TARGETS = (
    Target("all_up_s", "all up, against PM2", against="PM2", at_least=1.6),
    Target("respawn_p50_ms", "respawn p50, against PM2", against="PM2", at_least=0.7),
)


def medians(outcomes: Sequence[Outcome]) -> Outcome:
    """Each figure's median over the runs."""
    values: dict[str, Any] = {}
    for each in fields(Outcome):
        found = [value for outcome in outcomes if (value := getattr(outcome, each.name)) is not None]
        values[each.name] = statistics.median(found) if found else None
    return Outcome(**values)


def table(title: str, outcomes: Mapping[str, Outcome]) -> str:
    """One row a contender."""
    head = ["", "all up", "kill → back p50 / p95 / max", "memory each", "supervising process idle", "killed and back"]
    rows = [head, *([name, *_cells(outcome)] for name, outcome in outcomes.items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return f"{title}\n\n" + "\n".join(lines)


def _cells(outcome: Outcome) -> list[str]:
    daemon, after = "", ""
    if outcome.idle_cpu is not None:
        daemon = f"{outcome.idle_cpu:.2%}, {outcome.daemon_rss_mb:.0f} MB"
    if outcome.survivors is not None:
        after = f"{outcome.survivors:g} kept, {outcome.orphans:g} orphans, {outcome.duplicates:g} duplicates"
    return [
        f"{outcome.all_up_s:.2f} s",
        f"{outcome.respawn_p50_ms:.1f} / {outcome.respawn_p95_ms:.1f} / {outcome.respawn_max_ms:.1f} ms",
        f"{outcome.memory_mb:.1f} MB" if outcome.memory_mb is not None else "",
        daemon,
        after,
    ]


def verdicts(targets: Sequence[Target], ours: Outcome, outcomes: Mapping[str, Outcome]) -> list[str]:
    """Each target with what was reached; those against a contender that was not measured are left out."""
    lines = []
    for target in targets:
        value = getattr(ours, target.field)
        if target.against is None:
            assert target.at_most is not None
            lines.append(_line(target.what, value <= target.at_most, f"{value:.4g}", f"at most {target.at_most:g}"))
        elif target.against in outcomes:
            assert target.at_least is not None
            ratio = getattr(outcomes[target.against], target.field) / value
            wanted = f"at least {target.at_least:g} times"
            lines.append(_line(target.what, ratio >= target.at_least, f"{ratio:.1f} times better", wanted))
    return lines


def crowd_verdicts(crowd: Crowd) -> list[str]:
    """What was reached with very many agents."""
    ratio = crowd.all_up_s / crowd.bare_s
    up, idle = f"{ratio:.2f} times as long", f"{crowd.idle_cpu:.2%}"
    return [
        _line("all up, against bare forks", ratio <= CROWD_BARE, up, f"at most {CROWD_BARE:g}"),
        _line("failed starts", crowd.failed_starts == 0, str(crowd.failed_starts), "none"),
        _line("idle CPU of the daemon", crowd.idle_cpu <= CROWD_CPU, idle, f"at most {CROWD_CPU:.0%}"),
    ]


def _line(what: str, met: bool, reached: str, wanted: str) -> str:
    return f"{'met   ' if met else 'MISSED'} {what}: {reached} ({wanted})"
