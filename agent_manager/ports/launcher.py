"""The launcher, as the supervisor sees it: slots addressed by instance id and launch id, never by process id."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from agent_manager.domain.exits import ProcessExit
from agent_manager.domain.instances import Instance
from agent_manager.domain.specification import AgentSpec


class SlotState(StrEnum):
    """What the launcher knows of a slot's present launch."""

    LAUNCHING = "launching"
    RUNNING = "running"
    EXITED = "exited"
    EMPTY = "empty"


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """One slot as handed to a new manager. `instance` is the metadata kept with it, None where it cannot be read.

    `exits` are those not acknowledged yet, oldest first. `started_at` is Unix seconds.
    """

    instance_id: str
    launch_id: str
    state: SlotState
    pid: int | None
    started_at: float | None
    instance: Instance | None
    exits: tuple[ProcessExit, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class LaunchExited:
    """The main process of a launch has ended. Said again once its output is saved, with its last lines."""

    instance_id: str
    exit: ProcessExit


@dataclass(frozen=True, kw_only=True, slots=True)
class LaunchEmptied:
    """No process of a launch is left."""

    instance_id: str
    launch_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ShutdownRequested:
    """The node goes down: stop every instance, then end. `hurry` when it is said for the second time."""

    hurry: bool


LauncherEvent = LaunchExited | LaunchEmptied | ShutdownRequested


class LauncherError(Exception):
    """The launcher refused a request or is gone; the message says why."""


class SpawnFailedError(LauncherError):
    """The launcher tried: the slot carries the launch, but there is no process; the message says why."""


class Launcher(Protocol):
    """The manager's end of the connection."""

    async def connect(self) -> tuple[Slot, ...]:
        """Take over: returns every slot. Raises LauncherError when the launcher cannot be understood."""
        ...

    async def run(self, on_event: Callable[[LauncherEvent], None]) -> None:
        """Deliver events, in order, for ever. Raises LauncherError when the launcher, and all it owned, is gone."""
        ...

    async def spawn(self, instance: Instance, expected_launch_id: str | None, credentials: str) -> tuple[int, float]:
        """Start `instance.launch` with `instance` as the slot's metadata; returns process id and start (Unix seconds).

        `credentials` is the path of the launch's credentials file. Raises SpawnFailedError when it could not be
        started, LauncherError when it was not tried: the slot is then as it was.
        """
        ...

    def expect(self, spec: AgentSpec) -> None:
        """Instances of this specification may be started: what they share with others can be made ready."""
        ...

    def update(self, instance: Instance) -> None:
        """Keep `instance` as the metadata of its slot. Nothing is awaited; order with other calls is kept."""
        ...

    def signal(self, instance_id: str, launch_id: str, signal: str) -> None:
        """Send a signal, by name, to the tree of a launch; nothing happens when it has ended."""
        ...

    def acknowledge(self, instance_id: str, launch_id: str) -> None:
        """The exit of this launch is recorded."""
        ...

    def release(self, instance_id: str) -> None:
        """Forget a slot that is empty and acknowledged."""
        ...

    def ready(self) -> None:
        """The node is up."""
        ...
