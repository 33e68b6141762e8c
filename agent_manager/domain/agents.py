"""Agents and packages as registered resources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from agent_manager.domain import lifecycle
from agent_manager.domain.errors import AgentManagerError, ConflictError
from agent_manager.domain.identifiers import agent_id_of_folder
from agent_manager.domain.lifecycle import Lifecycle
from agent_manager.domain.specification import AgentSpec


class PackageStatus(StrEnum):
    """What discovery last found in a package's folder."""

    AVAILABLE = "available"
    PREPARING = "preparing"
    """Its virtual environment is being made; what runs goes on until that is done."""
    FAILED = "failed"
    """Its virtual environment could not be made; what runs goes on."""
    INVALID = "invalid"
    UNAVAILABLE = "unavailable"
    """The folder is gone; the record is kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ManifestFault:
    """One thing wrong with a package: where, what stands there, what was expected. `line` counts from 1."""

    file: str
    message: str
    key: str | None = None
    line: int | None = None
    value: str | None = None
    expected: str | None = None

    def __str__(self) -> str:
        """As compilers write them: `file:line: message`."""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.message}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """A folder with a manifest, on one node.

    `spec` is of the last version that could be used; `digest` (None where it cannot be told) and `faults` are of the
    present one.
    """

    name: str
    node_id: str
    path: str
    agent_id: str | None
    status: PackageStatus
    updated_at: float
    spec: AgentSpec | None = None
    digest: str | None = None
    faults: tuple[ManifestFault, ...] = ()


NO_AGENT = "package"
"""Stands for the agent id where a folder's name gives none; a reserved id, so that it is no agent's."""


def subject_of(package: Package) -> str:
    """Under which agent id the feed speaks of a package that may never have become an agent."""
    return package.agent_id or folder_agent_id(package.name) or NO_AGENT


def folder_agent_id(folder_name: str) -> str | None:
    """The agent id a folder's name gives, None where it gives none."""
    try:
        return agent_id_of_folder(folder_name)
    except AgentManagerError:
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Agent:
    """A registered agent: identity, what it is made of, and what its user wants of it. Times are Unix seconds.

    `start_serial` and `restart_serial` count the user's start and restart commands: an instance that has acted on a
    smaller number has something left to do. `available` is False while its package's folder is gone.
    """

    id: str
    package: str
    node_id: str
    spec: AgentSpec
    lifecycle: Lifecycle
    created_at: float
    updated_at: float
    available: bool = True
    replicas: int = 1
    config: Mapping[str, Any]
    start_serial: int = 0
    restart_serial: int = 0
    epoch: int = 1

    @property
    def should_run(self) -> bool:
        """Whether its instances are to be running."""
        return self.lifecycle.runs and self.available

    def started(self, at: float) -> Agent:
        """The agent after a start command, initialized where needed.

        Raises ConflictError when it is terminated, or its package is gone.
        """
        return replace(self, lifecycle=_activated(self), start_serial=self.start_serial + 1, updated_at=at)

    def stopped(self, at: float) -> Agent:
        """The agent after a stop command. Raises ConflictError where nothing can be stopped."""
        return replace(self, lifecycle=lifecycle.move(self.id, self.lifecycle, Lifecycle.READY), updated_at=at)

    def restarted(self, at: float) -> Agent:
        """The agent after a restart command: every instance gets a new incarnation; a stopped agent is started.

        Raises as `started`.
        """
        return replace(
            self,
            lifecycle=_activated(self),
            start_serial=self.start_serial + 1,
            restart_serial=self.restart_serial + 1,
            updated_at=at,
        )


def _activated(agent: Agent) -> Lifecycle:
    if not agent.available:
        raise ConflictError(
            f"agent {agent.id} cannot be started: the folder of its package {agent.package} is gone; put it back",
            detail={"package": agent.package},
        )
    if agent.lifecycle.runs:
        return agent.lifecycle
    state = agent.lifecycle
    if state in (Lifecycle.CREATED, Lifecycle.FAILED):
        state = lifecycle.move(agent.id, state, Lifecycle.INITIALIZING)
    if state is Lifecycle.INITIALIZING:
        state = lifecycle.move(agent.id, state, Lifecycle.READY)
    return lifecycle.move(agent.id, state, Lifecycle.ACTIVE)
