"""A manifest's data against its model: every fault of it, in words."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from agent_manager.adapters.packages.fields import EXPECTATION
from agent_manager.adapters.packages.manifest import NO_HEARTBEAT, Manifest, Section
from agent_manager.adapters.packages.problems import MAX_FAULTS, KeyPath, Problem, dotted, mismatch, shown
from agent_manager.domain.specification import ReadinessMode

_LONGEST_KEY = 64


def validate(data: Mapping[str, Any]) -> Manifest | tuple[Problem, ...]:
    """The manifest, or everything that is wrong with it (a little more than is ever listed)."""
    problems = tuple(_contradictions(data))
    try:
        manifest = Manifest.model_validate(data)
    except ValidationError as error:
        details = islice(error.errors(include_url=False, include_input=True), 2 * MAX_FAULTS)
        return (*problems, *(_problem(detail) for detail in details))
    return problems or manifest


def sections(
    model: type[Section] = Manifest, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], type[Section]]]:
    """Every section of the manifest with the keys that lead to it, list positions left out."""
    yield path, model
    for name, field in model.model_fields.items():
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, Section):
                yield from sections(part, (*path, name))


_SECTIONS = dict(sections())


def _contradictions(data: Mapping[str, Any]) -> Iterator[Problem]:
    """What no single key shows. Read from the raw data, so that other faults do not hide it."""
    entrypoint, command = data.get("entrypoint"), data.get("command")
    expected = "either entrypoint (a Python file) or command (a list)"
    if entrypoint is not None and command is not None:
        message = f"entrypoint and command are both given: keep {expected}"
        yield Problem(path=("command",), message=message, expected=expected)
    if entrypoint is None and command is None:
        message = f"nothing says what to run: add {expected}"
        yield Problem(path=("entrypoint",), message=message, expected=expected)
    readiness = data.get("readiness")
    mode = readiness.get("mode") if isinstance(readiness, Mapping) else None
    if data.get("heartbeat") == NO_HEARTBEAT and mode == ReadinessMode.HEARTBEAT:
        yield mismatch(
            ("readiness", "mode"), shown(mode), f"{ReadinessMode.IMMEDIATE} where heartbeat is {NO_HEARTBEAT}"
        )


def _problem(detail: ErrorDetails) -> Problem:
    path: KeyPath = tuple(detail["loc"])
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    if path[-1:] == ("[key]",):
        return mismatch(path[:-1], shown(path[-2]), f"{context['expected']} as a key")
    if kind == EXPECTATION:
        below = (context["field"],) if "field" in context else ()
        return mismatch((*path, *below), shown(context.get("value", value)), context["expected"])
    if kind == "extra_forbidden":
        return _unknown_key(path)
    if kind == "missing":
        return Problem(path=path, message=f"{dotted(path)} is required: add it", expected=f"{path[-1]} with a value")
    return mismatch(path, shown(value), "a mapping of keys to values")


def _unknown_key(path: KeyPath) -> Problem:
    known = _SECTIONS[tuple(part for part in path[:-1] if isinstance(part, str))].model_fields
    key = str(path[-1])
    near = difflib.get_close_matches(key.lower(), known, n=1) if len(key) <= _LONGEST_KEY else []
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
    message = f"{dotted(path)} is not a known key: {hint}"
    return Problem(
        path=path, message=message, expected=near[0] if near else f"one of {', '.join(known)}", value=shown(key)
    )
