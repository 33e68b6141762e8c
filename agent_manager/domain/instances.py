"""The state of one supervised instance, frozen; `supervision` changes it by copying."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from agent_manager.domain.clock import Now
from agent_manager.domain.exits import Exit, ExitReason
from agent_manager.domain.identifiers import instance_id
from agent_manager.domain.restarts import RestartHistory
from agent_manager.domain.specification import AgentSpec


class InstanceStatus(StrEnum):
    """What is observed of an instance."""

    STARTING = "starting"
    RUNNING = "running"
    INACTIVE = "inactive"
    STOPPING = "stopping"
    STOPPED = "stopped"
    BACKOFF = "backoff"
    ERROR = "error"


class StopStep(StrEnum):
    """The rungs of the stop ladder, from gentle to certain. A process that hangs is made to tell where, by an abort."""

    DRAIN = "drain"
    ABORT = "abort"
    TERMINATE = "terminate"
    KILL = "kill"


@dataclass(frozen=True, kw_only=True, slots=True)
class Stopping:
    """Where a launch is on its way down. `next_at` is when the next rung is due (monotonic seconds)."""

    cause: ExitReason
    message: str
    step: StopStep
    next_at: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """One start of the instance's process. `*_at` are monotonic seconds, `started_wall` is Unix seconds.

    `asked_at` is when it was asked for and, once it has started, when it did. `replaces` is the launch id its slot
    carried before it (None: there was no slot). `pid` is None until the launcher has confirmed the start. `ended` is
    set from the end of the main process until its tree is empty; the exit is the instance's `last_exit`.
    """

    launch_id: str
    incarnation: int
    restart_serial: int
    spec: AgentSpec
    asked_at: float
    replaces: str | None = None
    pid: int | None = None
    started_wall: float | None = None
    ready_at: float | None = None
    heartbeat_at: float | None = None
    heartbeat_wall: float | None = None
    stopping: Stopping | None = None
    ended: bool = False

    def heard(self, now: Now) -> Launch:
        """The launch after a heartbeat."""
        return replace(self, heartbeat_at=now.mono, heartbeat_wall=now.wall)


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What the reconciler wants of an instance. The serials count the user's start and restart commands.

    `stop_reason` says why it is not to run.
    """

    run: bool
    spec: AgentSpec
    start_serial: int = 0
    restart_serial: int = 0
    stop_reason: str = "stop requested"


@dataclass(frozen=True, kw_only=True, slots=True)
class Instance:
    """One instance: its target, its launch when there is one, and its history.

    `held` is the launch id the launcher's slot carries (None when it has no such slot); `start_at` is set while
    waiting to be restarted (monotonic seconds); `acted_start_serial` is the last start command it has acted on.
    """

    agent_id: str
    ordinal: int
    target: Target
    epoch: int = 1
    status: InstanceStatus = InstanceStatus.STOPPED
    reason: str = ""
    since_wall: float = 0.0
    launch: Launch | None = None
    held: str | None = None
    start_at: float | None = None
    acted_start_serial: int = 0
    incarnation: int = 0
    restarts: int = 0
    history: RestartHistory = field(default_factory=RestartHistory)
    last_exit: Exit | None = None

    @property
    def id(self) -> str:
        """The instance id, `<agent_id>_<ordinal>`."""
        return instance_id(self.agent_id, self.ordinal)

    @property
    def launch_id(self) -> str | None:
        """Of its launch, when there is one."""
        return self.launch.launch_id if self.launch is not None else None

    def reported(self, status: InstanceStatus, reason: str, now: Now) -> Instance:
        """The instance with another status, and why."""
        return replace(self, status=status, reason=reason, since_wall=now.wall)

    def heard(self, now: Now) -> Instance:
        """The instance after a heartbeat of its launch; of one that has ended it says nothing any more."""
        if self.launch is None or self.launch.ended:
            return self
        return replace(self, launch=self.launch.heard(now))

    @property
    def present_status(self) -> InstanceStatus:
        """The status; `stopping` from the end of the main process until what follows from it is decided."""
        ended = self.launch is not None and self.launch.ended
        return InstanceStatus.STOPPING if ended else self.status

    @property
    def settled(self) -> bool:
        """Whether it is where its target wants it, or has given up trying: nothing more will happen by itself."""
        if self.target.run:
            behind = self.acted_start_serial < self.target.start_serial or (
                self.launch is not None and self.launch.restart_serial < self.target.restart_serial
            )
            at_rest = (InstanceStatus.RUNNING, InstanceStatus.ERROR, InstanceStatus.STOPPED)
            return not behind and self.present_status in at_rest
        return self.launch is None and self.start_at is None

    @property
    def arrived(self) -> bool:
        """Whether it is where its target wants it, which may be stopped: a program that has done its work has run."""
        return self.settled and not (self.target.run and self.present_status is InstanceStatus.ERROR)


@dataclass(frozen=True, kw_only=True, slots=True)
class Heartbeat:
    """What an instance last said of itself."""

    number: int
    status: str = "running"
    load: float = 0.0
    running: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
