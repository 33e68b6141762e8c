"""Builders of domain values with defaults that matter to nobody."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from agent_manager.domain import supervision
from agent_manager.domain.agents import Agent
from agent_manager.domain.clock import Now
from agent_manager.domain.exits import ProcessExit
from agent_manager.domain.instances import Instance, Target
from agent_manager.domain.lifecycle import Lifecycle
from agent_manager.domain.occurrences import (
    Drained,
    Emptied,
    Exited,
    HeartbeatSeen,
    Occurrence,
    Started,
    TargetSet,
    TimerDue,
)
from agent_manager.domain.specification import AgentSpec
from agent_manager.domain.steps import Action, Context

SPEC = AgentSpec(
    name="echo",
    version="1.0.0",
    directory="/packages/echo",
    working_directory="/packages/echo",
    entrypoint="agent.py",
)


def agent(agent_id: str = "echo", *, spec: AgentSpec = SPEC, lifecycle: Lifecycle = Lifecycle.ACTIVE) -> Agent:
    """A registered agent."""
    return Agent(
        id=agent_id,
        package=agent_id,
        node_id="node-1",
        spec=spec,
        lifecycle=lifecycle,
        created_at=1.0,
        updated_at=1.0,
        config={},
    )


def process_exit(launch_id: str, *, code: int | None = 1, signal: int | None = None, **changes: Any) -> ProcessExit:
    """The end of a main process."""
    return ProcessExit(
        launch_id=launch_id,
        pid=100,
        code=None if signal is not None else code,
        signal=signal,
        core_dumped=False,
        max_rss_kb=1,
        user_s=0.0,
        system_s=0.0,
        started_at=0.0,
        ended_at=1.0,
        **changes,
    )


@dataclass
class VirtualInstance:
    """One instance under the state machine, with a clock that the test moves."""

    spec: AgentSpec = SPEC
    now: float = 1000.0
    observing_since: float | None = 0.0
    jitter: float = 0.5
    restart_wait_s: float = 0.0
    actions: list[Action] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.instance = Instance(agent_id="echo", ordinal=0, target=Target(run=False, spec=self.spec))
        self._numbers = count(1)

    @property
    def launch_id(self) -> str:
        """The present launch."""
        assert self.instance.launch is not None
        return self.instance.launch.launch_id

    @property
    def status(self) -> str:
        """The present status."""
        return self.instance.status.value

    def feed(self, occurrence: Occurrence) -> list[Action]:
        """Let something happen; returns, and keeps, the actions."""
        context = Context(
            now=Now(mono=self.now, wall=self.now),
            observing_since=self.observing_since,
            new_launch_id=f"launch{next(self._numbers)}",
            jitter=self.jitter,
            restart_wait_s=self.restart_wait_s,
        )
        step = supervision.advance(self.instance, occurrence, context)
        self.instance = step.instance
        self.actions.extend(step.actions)
        return list(step.actions)

    def feed_target(self, target: Target) -> list[Action]:
        """The reconciler wants exactly this."""
        return self.feed(TargetSet(target=target))

    def target(self, *, run: bool, start_serial: int | None = None, restart_serial: int | None = None) -> list[Action]:
        """The reconciler wants something."""
        target = self.instance.target
        return self.feed(
            TargetSet(
                target=replace(
                    target,
                    run=run,
                    start_serial=target.start_serial if start_serial is None else start_serial,
                    restart_serial=target.restart_serial if restart_serial is None else restart_serial,
                )
            )
        )

    def started(self, pid: int = 100) -> list[Action]:
        """The launcher has started the present launch."""
        return self.feed(Started(launch_id=self.launch_id, pid=pid, started_at=self.now))

    def heartbeat(self, *, ready: bool = True) -> list[Action]:
        """The present launch has spoken."""
        return self.feed(HeartbeatSeen(launch_id=self.launch_id, ready=ready))

    def drained(self) -> list[Action]:
        """The drain request is answered."""
        return self.feed(Drained(launch_id=self.launch_id))

    def exited(self, *, code: int | None = 1, signal: int | None = None) -> list[Action]:
        """The main process has ended."""
        return self.feed(Exited(exit=process_exit(self.launch_id, code=code, signal=signal)))

    def gone(self, *, code: int | None = 1, signal: int | None = None) -> list[Action]:
        """The main process has ended, and nothing of its tree is left."""
        launch_id = self.launch_id
        return [*self.exited(code=code, signal=signal), *self.feed(Emptied(launch_id=launch_id))]

    def wait(self, seconds: float) -> list[Action]:
        """Time passes; every timer that becomes due on the way fires at its moment."""
        end, done = self.now + seconds, []
        while (due := supervision.wake_at(self.instance, self.observing_since)) is not None and due <= end:
            self.now = max(self.now, due)
            done.extend(self.feed(TimerDue()))
        self.now = end
        return done

    def running(self) -> VirtualInstance:
        """Bring it up."""
        self.target(run=True)
        self.started()
        self.heartbeat()
        return self
