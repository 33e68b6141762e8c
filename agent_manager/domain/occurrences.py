"""What can happen to an instance: the input of the supervision state machine."""

from __future__ import annotations

from dataclasses import dataclass

from agent_manager.domain.exits import ProcessExit
from agent_manager.domain.instances import Target


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetSet:
    """The reconciler wants something (perhaps the same as before)."""

    target: Target


@dataclass(frozen=True, kw_only=True, slots=True)
class Started:
    """The launcher has started the process. `started_at` is Unix seconds."""

    launch_id: str
    pid: int
    started_at: float


@dataclass(frozen=True, kw_only=True, slots=True)
class StartFailed:
    """There is no process: the launcher could not start it, or its credentials could not be made.

    `slot_taken` is False where it did not come so far that the launcher's slot carries the launch.
    """

    launch_id: str
    message: str
    slot_taken: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Withdrawn:
    """The launch was to be stopped before it was its turn to start, and has not been started."""

    launch_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class HeartbeatSeen:
    """The launch said it lives. `ready` is False while it says that it is still starting."""

    launch_id: str
    ready: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Drained:
    """The drain request came to an end: finished, refused, or nobody there to hear it."""

    launch_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Exited:
    """The main process has ended."""

    exit: ProcessExit


@dataclass(frozen=True, kw_only=True, slots=True)
class Emptied:
    """No process of the launch is left."""

    launch_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TimerDue:
    """A moment named by `wake_at` has come."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hurry:
    """No more patience: kill what is on its way down."""


Occurrence = (
    TargetSet | Started | StartFailed | Withdrawn | HeartbeatSeen | Drained | Exited | Emptied | TimerDue | Hurry
)
