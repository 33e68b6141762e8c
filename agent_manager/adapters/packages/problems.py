"""What is wrong in a manifest, by the path of its key, and how it becomes a `ManifestFault`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent_manager.domain.agents import ManifestFault

KeyPath = tuple[str | int, ...]
"""Where a value stands: keys and list positions from the top, `()` for the whole document."""

MAX_FAULTS = 50
"""More faults than this help nobody; the last one tells how many are left out."""

_SHOWN = 80
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,80}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing wrong. `line` counts from 1 and is set where the text there is wrong rather than a value."""

    path: KeyPath
    message: str
    expected: str | None = None
    value: str | None = None
    line: int | None = None


def mismatch(path: KeyPath, seen: str, expected: str) -> Problem:
    """What is `seen` at `path` is not what is `expected` (a noun phrase)."""
    if path[:1] == ("env",):
        # An environment variable may be a secret: what stands there is not repeated.
        return Problem(path=path, message=f"{dotted(path)} must be {expected}", expected=expected)
    return Problem(path=path, message=f"{dotted(path)} must be {expected}, not {seen}", expected=expected, value=seen)


def dotted(path: KeyPath) -> str:
    """A path as people write it: `restart.max_restarts`, `capabilities[1].name`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
            continue
        text += ("." if text else "") + (part if _PLAIN_KEY.fullmatch(part) else shown(part))
    return text


def shown(value: Any) -> str:
    """A value as it could stand in the manifest."""
    return shortened(json.dumps(value, ensure_ascii=False, default=str))


def shortened(text: str) -> str:
    """The text, cut where it is long."""
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def as_faults(problems: Sequence[Problem], file: str, lines: Mapping[KeyPath, int]) -> tuple[ManifestFault, ...]:
    """The faults of one file, in the order of its lines. A line is that of the key or of the nearest key above it."""
    ordered = sorted((_as_fault(problem, file, lines) for problem in _first_of_each(problems)), key=_by_line)
    if len(ordered) <= MAX_FAULTS:
        return tuple(ordered)
    rest = ManifestFault(file=file, message=f"{len(ordered) - MAX_FAULTS} more faults are not listed: mend these first")
    return (*ordered[:MAX_FAULTS], rest)


def _first_of_each(problems: Iterable[Problem]) -> list[Problem]:
    """Without what follows from another problem: values at or below a path already named."""
    kept: list[Problem] = []
    named: set[KeyPath] = set()
    for problem in problems:
        prefixes = {problem.path[:length] for length in range(1, len(problem.path) + 1)}
        if problem.line is not None:
            kept.append(problem)
        elif named.isdisjoint(prefixes):
            kept.append(problem)
            named.add(problem.path)
    return kept


def _as_fault(problem: Problem, file: str, lines: Mapping[KeyPath, int]) -> ManifestFault:
    return ManifestFault(
        file=printable(file),
        message=printable(problem.message),
        key=printable(dotted(problem.path)) or None,
        line=problem.line or _line(problem.path, lines),
        value=printable(problem.value) if problem.value is not None else None,
        expected=problem.expected,
    )


def printable(text: str) -> str:
    """The text without half characters (lone surrogates), which no database and no bus takes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _line(path: KeyPath, lines: Mapping[KeyPath, int]) -> int | None:
    return next((lines[path[:length]] for length in range(len(path), -1, -1) if path[:length] in lines), None)


def _by_line(fault: ManifestFault) -> int:
    return fault.line or 0
