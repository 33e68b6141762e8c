"""A manifest's data against its model: every fault of it, in words."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from importlib import import_module
from itertools import islice
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from agent_manager.adapters.packages import config_defaults
from agent_manager.adapters.packages.manifest import NO_HEARTBEAT, Manifest, Section
from agent_manager.adapters.packages.problems import MAX_FAULTS, is_secret
from agent_manager.documents.model_errors import problem_of
from agent_manager.documents.problems import KeyPath, Problem, mismatch, shown
from agent_manager.domain.specification import ReadinessMode


def validate(data: Mapping[str, Any]) -> Manifest | tuple[Problem, ...]:
    """The manifest, or everything that is wrong with it (a little more than is ever listed)."""
    problems = (*_contradictions(data), *_unmet_schema(data))
    try:
        manifest = Manifest.model_validate(data)
    except ValidationError as error:
        details = islice(error.errors(include_url=False, include_input=True), 2 * MAX_FAULTS)
        return (*problems, *(_problem(detail) for detail in details))
    return problems or _completed(manifest)


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


def _unmet_schema(data: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong with `config_schema`, or else with `config` by it."""
    schema, config = data.get(config_defaults.KEY), data.get("config", {})
    if isinstance(schema, Mapping) and isinstance(config, Mapping):
        # By name: a manager none of whose packages has a schema is spared jsonschema, 2 MB and 60 ms of its start.
        yield from import_module("agent_manager.adapters.packages.config_check").problems_of(schema, config)


def _completed(manifest: Manifest) -> Manifest:
    if manifest.config_schema is None:
        return manifest
    config = config_defaults.with_defaults(manifest.config_schema, manifest.config)
    return manifest.model_copy(update={"config": config})


def _problem(detail: ErrorDetails) -> Problem:
    return problem_of(detail, known_keys=_known_keys, is_secret=is_secret)


def _known_keys(path: KeyPath) -> Collection[str]:
    return _SECTIONS[tuple(part for part in path if isinstance(part, str))].model_fields
