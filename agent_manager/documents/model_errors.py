"""What pydantic found wrong in a document, in the words of `fields`."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection

from pydantic_core import ErrorDetails

from agent_manager.documents.fields import EXPECTATION
from agent_manager.documents.problems import KeyPath, Problem, dotted, is_plain, mismatch, shown

_LONGEST_KEY = 64


def problem_of(
    detail: ErrorDetails,
    *,
    known_keys: Callable[[KeyPath], Collection[str]],
    is_secret: Callable[[KeyPath], bool],
) -> Problem:
    """One error as a problem. `known_keys` tells which keys the mapping at a path may have."""
    path: KeyPath = tuple(detail["loc"])
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    if path[-1:] == ("[key]",):
        return _mismatch(path[:-1], shown(path[-2]), f"{context['expected']} as a key", is_secret)
    if kind == EXPECTATION:
        below = (context["field"],) if "field" in context else ()
        return _mismatch((*path, *below), shown(context.get("value", value)), context["expected"], is_secret)
    if kind == "extra_forbidden":
        return unknown_key(path, known_keys(path[:-1]))
    if kind == "missing":
        return Problem(path=path, message=f"{dotted(path)} is required: add it", expected=f"{path[-1]} with a value")
    return _mismatch(path, shown(value), "a mapping of keys to values", is_secret)


def unknown_key(path: KeyPath, known: Collection[str], *, secret: bool = False) -> Problem:
    """A key nobody knows, with the one that was probably meant, or all there are.

    `secret`: a value may have become part of the key (`{password:x}`), so that only a plain word is repeated.
    """
    if secret and not is_plain(path[-1]):
        expected = f"one of {', '.join(known)}"
        message = f"{dotted(path[:-1])} has a key that is not known: known are {', '.join(known)}"
        return Problem(path=path, message=message, expected=expected)
    key = str(path[-1])
    near = difflib.get_close_matches(key.lower(), known, n=1) if len(key) <= _LONGEST_KEY else []
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
    message = f"{dotted(path)} is not a known key: {hint}"
    return Problem(
        path=path, message=message, expected=near[0] if near else f"one of {', '.join(known)}", value=shown(key)
    )


def _mismatch(path: KeyPath, seen: str, expected: str, is_secret: Callable[[KeyPath], bool]) -> Problem:
    return mismatch(path, seen, expected, secret=is_secret(path))
