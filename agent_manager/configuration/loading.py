"""Layers of settings to one tree, with the origin of every value, or with everything that is wrong."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from agent_manager.configuration import tree
from agent_manager.configuration.sources import Given, Source
from agent_manager.configuration.tree import Group, Key, confidential_groups, keys_of
from agent_manager.documents.model_errors import problem_of
from agent_manager.documents.problems import KeyPath, shown

T = TypeVar("T", bound=Group)

DEFAULT = "default"
"""The origin of what nobody has given."""


class ConfigurationError(Exception):
    """Settings that cannot be used; `faults` says of each where it stands, what it is and what it must be."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded(Generic[T]):
    """Settings in force, and where each that was given came from."""

    settings: T
    origins: Mapping[tree.Path, str]

    def origin(self, key: Key) -> str:
        """Where a setting's value came from."""
        return self.origins.get(key.path, DEFAULT)

    def without_effect(self) -> Iterator[tuple[Key, str]]:
        """Settings that were given although nothing uses them yet, with what will."""
        for key in keys_of(type(self.settings)):
            if key.path in self.origins and key.setting.awaits is not None:
                yield key, key.setting.awaits


def load(model: type[T], sources: Sequence[Source]) -> Loaded[T]:
    """One tree of all sources; the later win. Raises ConfigurationError with every fault of every source."""
    keys = tuple(keys_of(model))
    given: dict[tree.Path, Given] = {}
    for source in sources:
        given.update(source.values)
    faults = [fault for source in sources for fault in source.faults]
    try:
        settings = model.model_validate(_nested(given, keys))
    except ValidationError as error:
        raise ConfigurationError([*faults, *_faults(error, keys, given, model)]) from error
    if faults:
        raise ConfigurationError(faults)
    return Loaded(settings=settings, origins={path: each.origin for path, each in given.items()})


def _nested(given: Mapping[tree.Path, Given], keys: Collection[Key]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key in keys:
        if key.path in given:
            group = nested
            for field in key.fields[:-1]:
                group = group.setdefault(field, {})
            group[key.fields[-1]] = given[key.path].value
    return nested


def _faults(
    error: ValidationError, keys: Collection[Key], given: Mapping[tree.Path, Given], model: type[Group]
) -> Iterator[str]:
    by_fields = {key.fields: key for key in keys}
    confidential = confidential_groups(keys)

    def key_at(path: KeyPath) -> Key | None:
        return next((by_fields[path[:n]] for n in range(len(path), 0, -1) if path[:n] in by_fields), None)  # type: ignore[index]

    def is_secret(path: KeyPath) -> bool:
        key = key_at(path)
        return key is None or key.path[:-1] in confidential

    for detail in error.errors(include_url=False):
        problem = problem_of(detail, known_keys=lambda _: (), is_secret=is_secret)
        key = key_at(problem.path)
        because = key_at((*problem.path[:-1], detail.get("ctx", {}).get("because", "")))
        cause = next((each for each in (key, because) if each is not None and each.path in given), None)
        origin = given[cause.path].origin if cause is not None else DEFAULT
        message = problem.message.replace(".".join(key.fields), key.name) if key is not None else problem.message
        yield f"{origin}: {message}{_address(key, given)}"


def _address(key: Key | None, given: Mapping[tree.Path, Given]) -> str:
    """The address that is not what it must be, as it may be shown."""
    if key is None or key.path not in given or key.setting.shown_as is None:
        return ""
    value = given[key.path].value
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        value = ",".join(value)
    return f", not {shown(key.setting.shown_as(value))}" if isinstance(value, str) else ""
