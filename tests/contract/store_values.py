"""Values to store."""

from __future__ import annotations

from dataclasses import replace

from agent_manager.domain.agents import Agent, ManifestFault, Package, PackageStatus
from agent_manager.domain.events import Event
from agent_manager.domain.exits import Exit, ExitReason, LastLines
from agent_manager.domain.instances import Instance, InstanceStatus, Launch, Stopping, StopStep, Target
from agent_manager.domain.lifecycle import Lifecycle
from agent_manager.domain.restarts import RestartHistory
from agent_manager.domain.specification import (
    AgentSpec,
    Capability,
    HeartbeatPolicy,
    OnInactive,
    Readiness,
    ReadinessMode,
    RestartMode,
    RestartPolicy,
)

SPEC = AgentSpec(
    name="Écho ✓",
    version="1.2.3",
    directory="/packages/echo",
    working_directory="/data/echo",
    command=("/bin/echo", "--loud"),
    capabilities=(Capability(name="shout", parameters={"levels": [1, 2, {"deep": None}]}),),
    config={"greeting": "hello", "nested": {"list": [1, 2.5, None, True]}},
    env={"MODE": "test"},
    restart=RestartPolicy(policy=RestartMode.ON_FAILURE, max_restarts=3),
    readiness=Readiness(mode=ReadinessMode.IMMEDIATE),
    heartbeat=HeartbeatPolicy(on_inactive=OnInactive.MARK),
)


def agent(agent_id: str = "echo", *, replicas: int = 1, epoch: int = 1) -> Agent:
    return Agent(
        id=agent_id,
        package="echo",
        node_id="node-1",
        spec=SPEC,
        lifecycle=Lifecycle.ACTIVE,
        created_at=1_700_000_000.25,
        updated_at=1_700_000_001.5,
        replicas=replicas,
        config={"greeting": "bonjour", "limits": {"tokens": 10}},
        start_serial=4,
        restart_serial=2,
        epoch=epoch,
    )


def package(name: str = "echo", *, node_id: str = "node-1") -> Package:
    return Package(
        name=name,
        node_id=node_id,
        path=f"/packages/{name}",
        agent_id=name,
        status=PackageStatus.INVALID,
        updated_at=1_700_000_000.0,
        spec=SPEC,
        faults=(ManifestFault(file="agent.yaml", message="unknown key", key="replica", line=7, expected="replicas"),),
    )


def exit_(launch_id: str = "launch-1", *, at: float = 1_700_000_100.0, incarnation: int = 1) -> Exit:
    return Exit(
        launch_id=launch_id,
        incarnation=incarnation,
        reason=ExitReason.CRASH,
        message="killed by signal 11",
        at=at,
        signal=11,
        core_dumped=True,
        pid=4321,
        started_at=1_700_000_050.0,
        max_rss_kb=20_000,
        user_s=0.5,
        system_s=0.25,
    )


def instance(agent_id: str = "echo", ordinal: int = 0, *, epoch: int = 1) -> Instance:
    launch = Launch(
        launch_id=f"launch-{agent_id}-{ordinal}",
        incarnation=3,
        restart_serial=2,
        spec=SPEC,
        asked_at=1000.5,
        pid=4321,
        started_wall=1_700_000_050.0,
        ready_at=1001.0,
        heartbeat_at=1010.0,
        heartbeat_wall=1_700_000_060.0,
        stopping=Stopping(cause=ExitReason.REQUESTED, message="stop requested", step=StopStep.DRAIN, next_at=1020.0),
        ended=True,
    )
    return Instance(
        agent_id=agent_id,
        ordinal=ordinal,
        target=Target(run=True, spec=SPEC, start_serial=4, restart_serial=2),
        epoch=epoch,
        status=InstanceStatus.STOPPING,
        reason="stop requested",
        since_wall=1_700_000_061.0,
        launch=launch,
        held=launch.launch_id,
        acted_start_serial=4,
        incarnation=3,
        restarts=2,
        history=RestartHistory(restarted_at=(990.0, 995.0), streak=2),
        last_exit=replace(exit_("launch-0"), last_lines=LastLines(out=("one",))),
    )


def stopped(running: Instance) -> Instance:
    return replace(running, status=InstanceStatus.STOPPED, reason="stopped", launch=None)


def event(message: str = "started", *, agent_id: str = "echo") -> Event:
    return Event(
        type="running",
        agent_id=agent_id,
        at=1_700_000_000.125,
        message=message,
        instance_id=f"{agent_id}_0",
        actor="ada",
        data={"restarts": 2, "why": ["a", None]},
    )
