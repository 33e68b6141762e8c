"""How one program finds its settings: file, then `.env`, then the environment, then flags; the later win."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from agent_manager.configuration.loading import Loaded, load
from agent_manager.configuration.sources import from_dotenv, from_environment, from_file, from_flags
from agent_manager.configuration.tree import Group, Key, keys_of

T = TypeVar("T", bound=Group)
Flag = tuple[str, str, Any]
"""A flag's name, the setting it gives, and its value; None where it was not given."""

DOTENV_FILE = Path(".env")
"""Looked for in the working directory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Program(Generic[T]):
    """A program's settings: their tree, and the names under which its file and its variables are found.

    `reserved` are variables that begin with `prefix` and are no settings; `files` are tried in turn when nobody names
    one.
    """

    name: str
    model: type[T]
    prefix: str
    files: tuple[Path, ...]
    reserved: tuple[str, ...] = ()

    @property
    def config_variable(self) -> str:
        """The variable that names the file."""
        return f"{self.prefix}_CONFIG"

    @property
    def keys(self) -> tuple[Key, ...]:
        """Every setting."""
        return tuple(keys_of(self.model))

    def load(self, environ: Mapping[str, str], *, config: Path | None = None, flags: Iterable[Flag] = ()) -> Loaded[T]:
        """Read everything. Raises ConfigurationError with all that is wrong."""
        keys, reserved = self.keys, (*self.reserved, self.config_variable)
        file = self.config_file(environ, config)
        return load(
            self.model,
            (
                *([from_file(file, keys)] if file is not None else []),
                from_dotenv(DOTENV_FILE, keys, prefix=self.prefix, reserved=reserved),
                from_environment(environ, keys, prefix=self.prefix, reserved=reserved),
                from_flags(flags),
            ),
        )

    def config_file(self, environ: Mapping[str, str], named: Path | None = None) -> Path | None:
        """The file in use: the one that was named, or the first of `files` that exists."""
        if named is not None:
            return named
        if from_variable := environ.get(self.config_variable):
            return Path(from_variable)
        return next((path for path in self.files if path.exists()), None)
