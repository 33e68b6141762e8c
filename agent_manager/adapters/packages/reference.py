"""The tables of `docs/manifest.md`, made of the manifest's model."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from enum import Enum
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from agent_manager.adapters.packages.manifest import NO_HEARTBEAT, CapabilitySection, Manifest, Section
from agent_manager.documents.fields import Checked, Converted

BEGIN = "<!-- Made of agent_manager/adapters/packages/manifest.py by `make reference`: change it there. -->"
END = "<!-- The end of what is made. -->"

_HEAD = "| key | type | default | unit | allowed | meaning |\n| --- | --- | --- | --- | --- | --- |"
_UNITS = {"_s": "seconds", "_bytes": "bytes"}
_TYPES: Mapping[type, str] = {bool: "truth value", int: "whole number", float: "number", str: "string", dict: "mapping"}
_OF_SECTIONS = "see below"


class StalePageError(Exception):
    """The page lacks a mark."""


def reference() -> str:
    """Every key of the manifest, section by section."""
    parts = [f"## Keys\n\n{_words(Manifest)}\n\n{_table(Manifest)}"]
    for name, field in Manifest.model_fields.items():
        section = _section(field.annotation)
        if section is not None:
            parts.append(f"### `{name}`\n\n{_words(section)}\n\n{_table(section)}")
    return "\n\n".join(parts)


def renewed(page: str) -> str:
    """The page with the tables as they are now. Raises StalePageError where it lacks a mark."""
    if BEGIN not in page or END not in page:
        raise StalePageError(f"the page needs the lines {BEGIN!r} and {END!r}: the tables come between them")
    before, after = page.split(BEGIN, 1)[0], page.split(END, 1)[1]
    return f"{before}{BEGIN}\n\n{reference()}\n\n{END}{after}"


def _words(section: type[Section]) -> str:
    return inspect.cleandoc(section.__doc__ or "")


def _table(section: type[Section]) -> str:
    rows = (
        (f"`{name}`", _type(name, field), _default(field), _unit(name), _allowed(field), _meaning(field))
        for name, field in section.model_fields.items()
    )
    return "\n".join((_HEAD, *(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)))


def _section(annotation: Any) -> type[Section] | None:
    """The section a key holds, alone, in a list or as one possibility."""
    for part in (annotation, *get_args(annotation)):
        if isinstance(part, type) and issubclass(part, Section):
            return part
    return None


def _type(name: str, field: FieldInfo) -> str:
    section = _section(field.annotation)
    if section is CapabilitySection:
        return "list"
    if section is not None:
        return f"section, or `{NO_HEARTBEAT}`" if name == "heartbeat" else "section"
    for part in _parts(field.annotation):
        if get_origin(part) is tuple:
            return "list"
        plain = get_origin(part) or part
        if isinstance(plain, type) and issubclass(plain, Enum):
            return "word"
        if plain in _TYPES:
            return _TYPES[plain]
    raise TypeError(f"{name}: no words for {field.annotation}")


def _parts(annotation: Any) -> Iterator[Any]:
    """The possibilities of a union, rid of their rules."""
    if get_origin(annotation) is Annotated:
        yield from _parts(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType):
        for part in get_args(annotation):
            yield from _parts(part)
    else:
        yield annotation


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, Section):
        return "its keys' defaults"
    if value is None or value in ("", (), {}):
        return "none" if value is None else "empty"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:.15g}`" if isinstance(value, (int, float)) else f"`{value}`"


def _unit(name: str) -> str:
    return next((unit for end, unit in _UNITS.items() if name.endswith(end)), "")


def _allowed(field: FieldInfo) -> str:
    if _section(field.annotation) not in (None, CapabilitySection):
        return _OF_SECTIONS
    rules = [rule.expected for rule in field.metadata if isinstance(rule, Checked | Converted)]
    if rules:
        return rules[0]
    within = _rules_within(field.annotation)
    if get_origin(field.annotation) is dict:
        return f"each key {within[0]}, each value {within[1]}" if within else "any keys and values"
    return within[0]


def _rules_within(annotation: Any) -> list[str]:
    """What is expected in a union, as in `Title | None`, or of the keys and values of a mapping."""
    parts = (rule for part in get_args(annotation) for rule in getattr(part, "__metadata__", ()))
    return [rule.expected for rule in parts if isinstance(rule, Checked | Converted)]


def _meaning(field: FieldInfo) -> str:
    if field.description is not None:
        return field.description
    section = _section(field.annotation)
    if section is None:
        raise TypeError(f"a key without words: {field}")
    first = _words(section).splitlines()[0].rstrip(".")
    return first[0].lower() + first[1:]
