"""The launcher, as the supervisor sees it: slots addressed by instance id and launch id, never by process id."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from agent_manager.domain.exits import ProcessExit
from agent_manager.domain.instances import Instance
from agent_manager.domain.specification import LogPolicy


class SlotState(StrEnum):
    """What the launcher knows of a slot's present launch."""

    LAUNCHING = "launching"
    RUNNING = "running"
    EXITED = "exited"
    EMPTY = "empty"


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """One slot as handed to a new manager. `instance` is the metadata kept with it, None where it cannot be read."""

    instance_id: str
    launch_id: str
    state: SlotState
    pid: int | None
    started_at: float | None
    instance: Instance | None
    exits: tuple[ProcessExit, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessStart:
    """What to execute. `environment` is complete. `output_stem` is the log path without `.out.log` and `.err.log`."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    working_directory: str
    output_stem: str
    logs: LogPolicy


@dataclass(frozen=True, kw_only=True, slots=True)
class LaunchExited:
    """The main process of a launch has ended."""

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
    """The launcher refused a request; the message says why."""


class Launcher(Protocol):
    """The manager's end of the connection."""

    async def connect(self, on_event: Callable[[LauncherEvent], None]) -> tuple[Slot, ...]:
        """Take over: returns every slot; from then on events arrive at `on_event`, in order."""
        ...

    async def spawn(self, instance: Instance, expected_launch_id: str | None, start: ProcessStart) -> tuple[int, float]:
        """Start `instance.launch`, keeping `instance` as the slot's metadata; returns process id and start (Unix seconds).

        Raises LauncherError when it could not be started.
        """
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

    def on_closed(self, callback: Callable[[], Awaitable[None] | None]) -> None:
        """Call when the connection is gone: the launcher is dead, and so is everything it owned."""
        ...
