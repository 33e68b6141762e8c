"""Where settings come from: a YAML file, `.env`, the environment, flags. Each yields what it gives, and faults."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import Any

import dotenv
from dotenv.parser import parse_stream

from agent_manager.configuration import tree
from agent_manager.configuration.tree import Key, confidential_groups
from agent_manager.documents.model_errors import unknown_key
from agent_manager.documents.problems import KeyPath, Problem, dotted, line_of, mismatch, shown
from agent_manager.documents.yaml_document import DocumentKind, read_document

MAX_FILE_BYTES = 1_000_000
"""Size of a file above which it is not read."""

_FILE_SUFFIX = "_FILE"
_NEAR = 0.65
"""How alike two names are, from 0 to 1, for one to be taken for the other: `LOG_LEVEL` is for `SERVICE_LOG_LEVEL`."""


@dataclass(frozen=True, slots=True)
class Given:
    """A value as it was given, and where: `config/agent_manager.yaml:12`, `environment DATABASE_URL`, `--log-level`."""

    value: Any
    origin: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """What one place gives, by the path of the setting, and what is wrong with it."""

    values: Mapping[tree.Path, Given] = field(default_factory=dict)
    faults: tuple[str, ...] = ()


def from_file(path: Path, keys: Collection[Key]) -> Source:
    """The settings in a YAML file."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
        if len(raw) > MAX_FILE_BYTES:
            return Source(faults=(f"{path} is larger than {MAX_FILE_BYTES} bytes",))
        text = raw.decode("utf-8-sig")
    except OSError as error:
        return Source(faults=(f"{path} cannot be read: {error.strerror or error}",))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        return Source(faults=(f"{path}:{line}: is not UTF-8 text",))
    if all(line.startswith("#") or not line for line in map(str.strip, text.splitlines())):
        return Source()
    return _YamlFile(path, keys).read(text)


class _YamlFile:
    def __init__(self, path: Path, keys: Collection[Key]) -> None:
        self._path = path
        self._known = {place: key for key in keys for place in key.paths}
        self._confidential = confidential_groups(keys)
        self._sections = {place[:length] for place in self._known for length in range(len(place))}
        self._lines: Mapping[KeyPath, int] = {}
        self._values: dict[tree.Path, Given] = {}
        self._faults: list[str] = []

    def read(self, text: str) -> Source:
        kind = DocumentKind(
            name="the settings", example="`service:` and below it `log_level: INFO`", is_secret=self._is_secret
        )
        document = read_document(text, kind)
        if isinstance(document, Problem):
            return Source(faults=(self._fault(document),))
        self._lines = document.lines
        self._faults.extend(self._fault(problem) for problem in document.problems)
        self._section(document.data, ())
        return Source(values=self._values, faults=tuple(self._faults))

    def _section(self, data: Mapping[str, Any], path: tree.Path) -> None:
        for name, value in data.items():
            below = (*path, name)
            if below in self._known:
                self._take(self._known[below], value, below)
            elif below not in self._sections:
                siblings = sorted({place[len(path)] for place in self._known if place[: len(path)] == path})
                self._faults.append(self._fault(unknown_key(below, siblings, secret=self._is_secret(below))))
            elif isinstance(value, Mapping):
                self._section(value, below)
            elif value is not None:
                expected = "a mapping of keys to values"
                self._faults.append(self._fault(mismatch(below, shown(value), expected, secret=self._is_secret(below))))

    def _take(self, key: Key, value: Any, place: tree.Path) -> None:
        if value is None:
            return
        given = Given(value, f"{self._path}:{line_of(place, self._lines)}")
        if key.path in self._values:
            earlier = self._values[key.path].origin
            self._faults.append(f"{given.origin}: {dotted(place)} is given twice, first in {earlier}: remove one")
        else:
            self._values[key.path] = given

    def _is_secret(self, path: KeyPath) -> bool:
        return any(path[: len(group)] == group for group in self._confidential)

    def _fault(self, problem: Problem) -> str:
        line = problem.line or line_of(problem.path, self._lines)
        return f"{self._path}{f':{line}' if line else ''}: {problem.message}"


def from_environment(
    variables: Mapping[str, str], keys: Collection[Key], *, prefix: str, reserved: Collection[str] = ()
) -> Source:
    """The settings in environment variables. One that begins like ours and is none is a fault, unless `reserved`."""
    return _Variables(variables, lambda name: f"environment {name}", keys, prefix=prefix, reserved=reserved).read()


def from_dotenv(path: Path, keys: Collection[Key], *, prefix: str, reserved: Collection[str] = ()) -> Source:
    """The settings in a `.env` file; nothing where there is none. Variables of others are passed over."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Source()
    except (OSError, UnicodeDecodeError) as error:
        return Source(faults=(f"{path} cannot be read: {error}",))
    lines: dict[str, int] = {}
    readable, faults = [], []
    for binding in parse_stream(StringIO(text)):
        written = binding.original.string
        # Empty lines before it belong to it.
        line = binding.original.line + written[: len(written) - len(written.lstrip())].count("\n")
        if binding.error:
            # What stands there may be a password.
            faults.append(f"{path}:{line}: must be NAME=value, or a comment that begins with #")
            continue
        readable.append(written)
        if binding.key:
            lines[binding.key] = line
    found = dotenv.dotenv_values(stream=StringIO("".join(readable)))
    values = {name: value for name, value in found.items() if value is not None}
    source = _Variables(
        values, lambda name: f"{path}:{lines[name]} {name}", keys, prefix=prefix, reserved=reserved
    ).read()
    return replace(source, faults=(*faults, *source.faults))


def from_flags(flags: Iterable[tuple[str, str, Any]]) -> Source:
    """Flags of a command, as (flag, setting, value); those that were not given have the value None."""
    return Source(
        values={tuple(name.split(".")): Given(value, flag) for flag, name, value in flags if value is not None}
    )


class _Variables:
    def __init__(
        self,
        variables: Mapping[str, str],
        origin: Any,
        keys: Collection[Key],
        *,
        prefix: str,
        reserved: Collection[str],
    ) -> None:
        self._variables = variables
        self._origin = origin
        self._keys = keys
        self._prefix = prefix
        self._reserved = reserved
        self._faults: list[str] = []

    def read(self) -> Source:
        values = {key.path: given for key in self._keys if (given := self._given(key)) is not None}
        known = {name for key in self._keys for name in self._names(key)}
        for name in sorted(self._variables):
            if name.startswith(f"{self._prefix}_") and name not in known | set(self._reserved):
                self._faults.append(f"{self._origin(name)}: is not a known variable: {self._hint(name, known)}")
        return Source(values=values, faults=tuple(self._faults))

    def _hint(self, name: str, known: Collection[str]) -> str:
        # What all of them begin with would make any two alike.
        start = len(self._prefix) + 1
        own = {each[start:] for each in known if each.startswith(f"{self._prefix}_")}
        near = difflib.get_close_matches(name[start:], own, n=1, cutoff=_NEAR)
        return f"did you mean {self._prefix}_{near[0]}?" if near else "no setting has that name"

    def _names(self, key: Key) -> list[str]:
        names = list(key.variables(self._prefix))
        return [*names, *(f"{name}{_FILE_SUFFIX}" for name in names)] if key.setting.secret else names

    def _given(self, key: Key) -> Given | None:
        """The first that is set; what is empty counts as not set, as a container's environment often has it."""
        for name in self._names(key):
            if value := self._variables.get(name):
                if key.setting.secret and name.endswith(_FILE_SUFFIX):
                    return self._from_secret_file(name, value)
                return Given(value, self._origin(name))
        return None

    def _from_secret_file(self, name: str, path: str) -> Given | None:
        try:
            return Given(Path(path).read_text(encoding="utf-8").strip(), f"{self._origin(name)} ({path})")
        except (OSError, ValueError) as error:
            # Not its name: who mistakes the variable for the other one writes the secret itself.
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            self._faults.append(f"{self._origin(name)}: the file that it names cannot be read: {reason}")
            return None
