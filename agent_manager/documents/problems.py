"""What is wrong in a document, by the path of its key."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

KeyPath = tuple[str | int, ...]
"""Where a value stands: keys and list positions from the top, `()` for the whole document."""

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


def mismatch(path: KeyPath, seen: str, expected: str, *, secret: bool = False) -> Problem:
    """What is `seen` at `path` is not what is `expected` (a noun phrase). What may be a `secret` is not repeated."""
    if secret:
        return Problem(path=path, message=f"{dotted(path)} must be {expected}", expected=expected)
    return Problem(path=path, message=f"{dotted(path)} must be {expected}, not {seen}", expected=expected, value=seen)


def dotted(path: KeyPath) -> str:
    """A path as people write it: `restart.max_restarts`, `capabilities[1].name`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
            continue
        text += ("." if text else "") + (part if is_plain(part) else shown(part))
    return text


def is_plain(key: str | int) -> bool:
    """Whether a key is a position, or a word that needs no quotes."""
    return isinstance(key, int) or _PLAIN_KEY.fullmatch(key) is not None


def shown(value: Any) -> str:
    """A value as it could stand in the document."""
    return shortened(json.dumps(value, ensure_ascii=False, default=str))


def shortened(text: str) -> str:
    """The text, cut where it is long."""
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def printable(text: str) -> str:
    """The text without half characters (lone surrogates), which no database and no bus takes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def first_of_each(problems: Iterable[Problem]) -> list[Problem]:
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


def line_of(path: KeyPath, lines: Mapping[KeyPath, int]) -> int | None:
    """The line of a key, or of the nearest key above it."""
    return next((lines[path[:length]] for length in range(len(path), -1, -1) if path[:length] in lines), None)
