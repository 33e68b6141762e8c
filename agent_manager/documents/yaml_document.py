"""YAML text to plain data, with the line of every key, bounded in size, and without YAML 1.1's surprises.

The node tree is converted here instead of by PyYAML's constructors, so that tags create nothing, duplicate keys are
found and aliases cannot multiply without end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from agent_manager.documents import core_schema
from agent_manager.documents.problems import KeyPath, Problem, dotted, mismatch, shortened, shown

MAX_NODES = 20_000
"""Values in one document, those behind aliases counted wherever they are used."""

MAX_DEPTH = 32
"""Levels of nesting."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentKind:
    """What a document is called ("the manifest"), what its first lines may be, and which values are not repeated."""

    name: str
    example: str
    is_secret: Callable[[KeyPath], bool]


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A mapping as read: its data, the line of every key path (from 1), and what is wrong with it as YAML."""

    data: Mapping[str, Any]
    lines: Mapping[KeyPath, int]
    problems: tuple[Problem, ...]


_NAMES = re.compile(r"""\b(alias|anchor|tag handle) (?:'[^']*'|"[^"]*")""")
"""What follows `*`, `&` or `!`, with which a password may begin."""


class _RefusedError(Exception):
    """Reading stops here."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def read_document(text: str, kind: DocumentKind) -> Document | Problem:
    """Read one YAML document whose top level is a mapping; a Problem when there is nothing to go on with."""
    try:
        node = _compose(text)
        if not isinstance(node, yaml.MappingNode):
            return _not_a_mapping(node, kind)
        conversion = _Conversion(kind)
        data = conversion.value(node, ())
    except _RefusedError as refused:
        return refused.problem
    except yaml.MarkedYAMLError as error:
        return _syntax_problem(error)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        return Problem(path=(), message=f"character {error.character!r} is not allowed in YAML", line=line)
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # PyYAML lets errors of chr() and int() through, for escapes and directives beyond their range.
        return Problem(path=(), message=f"cannot be read as YAML: {str(error)[:200]}")
    return Document(data=data, lines=conversion.lines, problems=tuple(conversion.problems))


def _not_a_mapping(node: yaml.Node | None, kind: DocumentKind) -> Problem:
    expected = f"a mapping of keys to values, such as {kind.example}"
    if node is None:
        return Problem(path=(), message=f"is empty; expected {expected}", expected=expected, line=1)
    line = node.start_mark.line + 1
    found = "a list" if isinstance(node, yaml.SequenceNode) else "a single value"
    return Problem(path=(), message=f"is {found}; expected {expected}", expected=expected, line=line)


def _syntax_problem(error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    said = _NAMES.sub(r"\1", ", ".join(part for part in (error.context, error.problem) if part))
    if "'\\t'" in said:
        said += " (a tab): indent with spaces"
    if mark is None:
        return Problem(path=(), message=f"is not valid YAML: {said}")
    message = f"is not valid YAML at line {mark.line + 1}, column {mark.column + 1}: {said[:200]}"
    return Problem(path=(), message=message, line=mark.line + 1)


class _Loader(yaml.SafeLoader):
    """Composes nodes with the core schema's resolvers, within `MAX_NODES` and `MAX_DEPTH`."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own protocol
    _composed = 0
    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose one node, bounded: PyYAML recurses here."""
        self._composed += 1
        self._depth += 1
        try:
            _check_bounds(self._composed, self._depth, self.line + 1)
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


for _tag, _scalar in core_schema.PLAIN_SCALARS.items():
    _Loader.add_implicit_resolver(_tag, _scalar.pattern, list(_scalar.first))
_Loader.add_implicit_resolver(f"{core_schema.TAG}null", re.compile(r"\Z"), [""])


def _compose(text: str) -> yaml.Node | None:
    loader = _Loader(text)
    try:
        return loader.get_single_node()
    finally:
        loader.dispose()


def _check_bounds(nodes: int, depth: int, line: int) -> None:
    if nodes > MAX_NODES:
        message = f"has more than {MAX_NODES} values (those behind aliases counted wherever they are used)"
    elif depth > MAX_DEPTH:
        message = f"is nested deeper than {MAX_DEPTH} levels"
    else:
        return
    raise _RefusedError(Problem(path=(), message=message, line=line))


class _Conversion:
    """Nodes to data, collecting lines and problems on the way."""

    def __init__(self, kind: DocumentKind) -> None:
        self._kind = kind
        self.lines: dict[KeyPath, int] = {}
        self.problems: list[Problem] = []
        self._visited = 0

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        """The data of a node; None, and a problem, where it has none."""
        line = node.start_mark.line + 1
        self._visited += 1
        _check_bounds(self._visited, len(path), line)
        self.lines.setdefault(path, line)
        if isinstance(node, yaml.MappingNode) and node.tag == core_schema.MAPPING:
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == core_schema.SEQUENCE:
            return [self.value(item, (*path, position)) for position, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        return self._tagged(node, path)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            if key is None:
                continue
            below, line = (*path, key), key_node.start_mark.line + 1
            if key in data:
                message = f"{dotted(below)} is given twice, first in line {self.lines[below]}: remove one"
                self.problems.append(Problem(path=below, message=message, expected="each key once", line=line))
                continue
            self.lines[below] = line
            data[key] = self.value(value_node, below)
        return data

    def _key(self, node: yaml.Node, path: KeyPath) -> str | None:
        expected = None
        if not isinstance(node, yaml.ScalarNode) or node.tag != core_schema.STRING:
            expected = "a string (put numbers, true and false in quotes)"
        elif not core_schema.is_keepable(node.value):
            expected = core_schema.KEEPABLE
        elif node.value == "<<":
            expected = "written out (merge keys are not supported)"
        if expected is None:
            return str(node.value)
        line, is_secret = node.start_mark.line + 1, self._kind.is_secret(path)
        seen = None if is_secret else _seen(node)
        message = f"a key of {dotted(path) or self._kind.name} must be {expected}{'' if is_secret else f', not {seen}'}"
        self.problems.append(Problem(path=path, message=message, expected=expected, value=seen, line=line))
        return None

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        construct = core_schema.CONSTRUCTORS.get(node.tag)
        if construct is None:
            return self._tagged(node, path)
        try:
            return construct(node.value)
        except ValueError as error:
            self.problems.append(self._mismatch(path, _seen(node), str(error)))
            return None

    def _tagged(self, node: yaml.Node, path: KeyPath) -> None:
        tag = shortened(node.tag.replace(core_schema.TAG, "!!"))
        self.problems.append(self._mismatch(path, tag, "a plain value without a tag"))

    def _mismatch(self, path: KeyPath, seen: str, expected: str) -> Problem:
        return mismatch(path, seen, expected, secret=self._kind.is_secret(path))


def _seen(node: yaml.Node) -> str:
    """A scalar as it stands in the text, quoted where it is quoted."""
    if not isinstance(node, yaml.ScalarNode):
        return "a list or mapping"
    return shortened(node.value) if node.style is None else shown(node.value)
