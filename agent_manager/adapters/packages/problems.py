"""What is wrong in a manifest, as the `ManifestFault`s that are kept and shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent_manager.documents.problems import KeyPath, Problem, dotted, first_of_each, line_of, printable
from agent_manager.domain.agents import ManifestFault

MAX_FAULTS = 50
"""More faults than this help nobody; the last one tells how many are left out."""


def is_secret(path: KeyPath) -> bool:
    """Whether what stands there is not to be repeated: an environment variable may be a password."""
    return path[:1] == ("env",)


def as_faults(problems: Sequence[Problem], file: str, lines: Mapping[KeyPath, int]) -> tuple[ManifestFault, ...]:
    """The faults of one file, in the order of its lines. A line is that of the key or of the nearest key above it."""
    ordered = sorted((_as_fault(problem, file, lines) for problem in first_of_each(problems)), key=_by_line)
    if len(ordered) <= MAX_FAULTS:
        return tuple(ordered)
    rest = ManifestFault(file=file, message=f"{len(ordered) - MAX_FAULTS} more faults are not listed: mend these first")
    return (*ordered[:MAX_FAULTS], rest)


def _as_fault(problem: Problem, file: str, lines: Mapping[KeyPath, int]) -> ManifestFault:
    return ManifestFault(
        file=printable(file),
        message=printable(problem.message),
        key=printable(dotted(problem.path)) or None,
        line=problem.line or line_of(problem.path, lines),
        value=printable(problem.value) if problem.value is not None else None,
        expected=problem.expected,
    )


def _by_line(fault: ManifestFault) -> int:
    return fault.line or 0
