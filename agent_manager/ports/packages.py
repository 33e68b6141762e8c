"""Where packages come from, and what they run in."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from agent_manager.domain.agents import ManifestFault
from agent_manager.domain.specification import AgentSpec


class Stage(StrEnum):
    """How far a folder has come on its way to a usable package."""

    FOUND = "found"
    """Looked at: there is a spec, or faults say why not."""
    SETTLING = "settling"
    """Somebody writes there, or its files are being read: what is known of it stays as it is."""
    PREPARING = "preparing"
    """Its environment is being made: the version known so far stays in use."""
    FAILED = "failed"
    """Its environment could not be made, as the faults say: likewise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvironmentNeed:
    """A virtual environment that a package needs.

    `key` names it: packages with the same one share it; `own` is the digest of the package that it is for alone, empty
    where it can be shared. `file` (relative to `folder`) says what has to be in it; `requirements` are those of a
    `pyproject.toml`, the lines of a requirements file stand in the file itself. `sdk` says whether the SDK must be
    importable in it.
    """

    key: str
    own: str
    folder: str
    file: str
    requirements: tuple[str, ...]
    sdk: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundPackage:
    """A folder as found: `spec` when it can be used, else `faults` that say what is wrong and where.

    Both at once: it can be used, and something about it is to be told. `digest` is of its present files, None where
    that cannot be told. `changed` are files that differ from the version found before, where that was seen.
    """

    name: str
    path: str
    spec: AgentSpec | None
    faults: tuple[ManifestFault, ...] = ()
    digest: str | None = None
    changed: tuple[str, ...] = ()
    stage: Stage = Stage.FOUND
    needs: EnvironmentNeed | None = None


class PackageSource(Protocol):
    """A place with package folders."""

    async def scan(self) -> tuple[FoundPackage, ...]:
        """Every package there is now, ordered by name. Never raises for what is inside a folder.

        Raises UnavailableError when the place itself cannot be read, which is not the same as having no packages.
        """
        ...

    def changes(self) -> AsyncGenerator[None]:
        """Yields whenever something may have changed; several changes at once yield once."""
        ...

    def look_again(self) -> None:
        """Let `changes` yield soon."""
        ...


class PreparationError(Exception):
    """An environment could not be made; `fault` says why."""

    def __init__(self, fault: ManifestFault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class Environments(Protocol):
    """Virtual environments, kept until nobody needs them."""

    def ready(self, need: EnvironmentNeed) -> str | None:
        """The path of the environment, None while it has to be made."""
        ...

    async def make(self, need: EnvironmentNeed, package: str) -> None:
        """Make it. Raises PreparationError."""
        ...

    async def keep_only(self, used: Collection[str]) -> None:
        """Remove environments that are neither among these paths nor were made or asked for lately."""
        ...
