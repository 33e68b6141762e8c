"""A program's settings as a tree of groups, and the names by which each is given."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo

from agent_manager.configuration.descriptions import descriptions

Path = tuple[str, ...]
"""The keys that lead to a setting, as they are written in a file."""

_SECONDS_SUFFIX = "_s"


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """What a field tells of itself beside type, default and docstring; part of its annotation.

    `variables`: names in the environment beside its own. `also`: other keys under which a file may hold it, dotted.
    `secret`: its value is never shown. `shown_as`: how a text of it is shown where only a part is secret. `live`: a
    change applies on SIGHUP. `awaits`: it is accepted and checked, but what will use it is not there yet.
    """

    variables: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    secret: bool = False
    shown_as: Callable[[str], str] | None = None
    live: bool = False
    awaits: str | None = None


class Group(BaseModel):
    """Settings that belong together. Fields named `…_s` are durations, given without the suffix."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """One setting: where it stands in a file, which attributes hold it, and how else it may be given.

    `group` is the group that defines it.
    """

    path: Path
    fields: Path
    group: type[Group]
    info: FieldInfo
    setting: Setting

    @property
    def name(self) -> str:
        """Its name for people: `database.pool_size`."""
        return ".".join(self.path)

    @property
    def description(self) -> str:
        """What it is for."""
        return descriptions(self.group).get(self.fields[-1], "")

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every place in a file where it may stand."""
        return (self.path, *(tuple(other.split(".")) for other in self.setting.also))

    def variables(self, prefix: str) -> tuple[str, ...]:
        """Its names in the environment, the first of which wins over the others."""
        own = f"{prefix}_{'_'.join(self.path)}".upper()
        return (own, *(name for name in self.setting.variables if name != own))

    def value_in(self, settings: Group) -> Any:
        """Its value."""
        value: Any = settings
        for field in self.fields:
            value = getattr(value, field)
        return value


def keys_of(model: type[Group], path: Path = (), fields: Path = ()) -> Iterator[Key]:
    """Every setting of a tree, in the order of its groups."""
    for field, info in model.model_fields.items():
        below = (*path, field.removesuffix(_SECONDS_SUFFIX))
        if isinstance(info.annotation, type) and issubclass(info.annotation, Group):
            yield from keys_of(info.annotation, below, (*fields, field))
        else:
            setting = next((part for part in info.metadata if isinstance(part, Setting)), Setting())
            yield Key(path=below, fields=(*fields, field), group=model, info=info, setting=setting)


def confidential_groups(keys: Collection[Key]) -> frozenset[Path]:
    """The groups with a secret, by their paths in a file: what is wrong there may be the secret in a wrong place."""
    return frozenset(place[:-1] for key in keys if key.setting.secret for place in key.paths)


def groups_of(model: type[Group], path: Path = ()) -> Iterator[tuple[Path, type[Group], str]]:
    """Every group below the top with its path and what it is about."""
    for field, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, Group):
            yield (*path, field), info.annotation, descriptions(model).get(field, "")
            yield from groups_of(info.annotation, (*path, field))
