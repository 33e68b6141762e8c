"""Domain values as the wire shows them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from agent_manager.domain.agents import ManifestFault, Package
from agent_manager.domain.exits import Exit
from agent_manager.domain.instances import Instance
from agent_manager.ports.processes import LogTail, Usage
from agent_manager.protocol import resources
from agent_manager.services.queries import AgentSnapshot, InstanceMeasurement, NodeSnapshot

HEALTH_UNKNOWN = "unknown"
"""R13: what is said of an instance whose health nobody has checked."""


def moment(unix_s: float) -> datetime:
    """Unix seconds as an aware datetime."""
    return datetime.fromtimestamp(unix_s, UTC)


def _moment(unix_s: float | None) -> datetime | None:
    return moment(unix_s) if unix_s is not None else None


def of_exit(exit_: Exit, last_lines: resources.LastLinesView | None = None) -> resources.ExitView:
    """An exit, with its last lines where they are given."""
    return resources.ExitView(
        code=exit_.code,
        signal=exit_.signal,
        reason=exit_.reason.value,
        message=exit_.message,
        at=moment(exit_.at),
        core_dumped=exit_.core_dumped,
        max_rss_bytes=exit_.max_rss_kb * 1024,
        cpu_s=round(exit_.user_s + exit_.system_s, 3),
        last_lines=last_lines,
    )


def of_instance(
    instance: Instance, node_id: str, last_lines: resources.LastLinesView | None = None
) -> resources.InstanceView:
    """An instance, its last exit with the last lines that are given."""
    launch = instance.launch
    return resources.InstanceView(
        id=instance.id,
        node=node_id,
        version=launch.spec.version if launch is not None else None,
        digest=(launch.spec.digest or None) if launch is not None else None,
        pid=launch.pid if launch is not None and not launch.ended else None,
        status=instance.present_status.value,
        reason=instance.reason,
        incarnation=instance.incarnation,
        restarts=instance.restarts,
        started_at=_moment(launch.started_wall if launch is not None else None),
        last_heartbeat=_moment(launch.heartbeat_wall if launch is not None else None),
        last_exit=of_exit(instance.last_exit, last_lines) if instance.last_exit is not None else None,
    )


def _instances(snapshot: AgentSnapshot, room_bytes: int = 0) -> list[resources.InstanceView]:
    shown = []
    for instance in snapshot.instances:
        last_lines = _last_lines(instance) if room_bytes > 0 else None
        if last_lines is not None:
            room_bytes -= len(last_lines.model_dump_json().encode())
        shown.append(of_instance(instance, snapshot.agent.node_id, last_lines if room_bytes >= 0 else None))
    return shown


def _last_lines(instance: Instance) -> resources.LastLinesView | None:
    if instance.last_exit is None or instance.last_exit.last_lines is None:
        return None
    return resources.LastLinesView(
        out=list(instance.last_exit.last_lines.out), err=list(instance.last_exit.last_lines.err)
    )


def of_agent(snapshot: AgentSnapshot, *, last_lines_bytes: int = 0) -> resources.AgentView:
    """An agent with its instances, and of these the last lines of their exits as long as there is room."""
    agent = snapshot.agent
    spec = agent.spec
    return resources.AgentView(
        id=agent.id,
        name=spec.name,
        version=spec.version,
        digest=spec.digest or None,
        up_to_date=not any(i.launch is not None and i.launch.spec.is_other_version(spec) for i in snapshot.instances),
        type=spec.type,
        description=spec.description,
        model=spec.model,
        package=agent.package,
        available=agent.available,
        faults=_faults(snapshot.faults),
        lifecycle=agent.lifecycle.value,
        availability=snapshot.availability.value,
        health=HEALTH_UNKNOWN,
        replicas=agent.replicas,
        capabilities=[
            resources.CapabilityView(
                name=capability.name,
                type=capability.type,
                version=capability.version,
                parameters=dict(capability.parameters),
                constraints=dict(capability.constraints),
            )
            for capability in spec.capabilities
        ],
        config=dict(agent.config),
        created_at=moment(agent.created_at),
        updated_at=moment(agent.updated_at),
        instances=_instances(snapshot, last_lines_bytes),
    )


def of_status(snapshot: AgentSnapshot) -> resources.StatusResult:
    """The short form of an agent."""
    return resources.StatusResult(
        agent_id=snapshot.agent.id,
        lifecycle=snapshot.agent.lifecycle.value,
        availability=snapshot.availability.value,
        health=HEALTH_UNKNOWN,
        instances=_instances(snapshot),
    )


def of_measurement(measured: InstanceMeasurement) -> resources.InstanceMetrics:
    """Metrics of one instance."""
    launch = measured.instance.launch
    return resources.InstanceMetrics(
        instance_id=measured.instance.id,
        pid=launch.pid if launch is not None else None,
        uptime_s=measured.uptime_s,
        restarts=measured.instance.restarts,
        load=measured.heartbeat.load if measured.heartbeat is not None else None,
        process=_of_usage(measured.usage) if measured.usage is not None else None,
        counters=dict(measured.counters),
    )


def of_sample(measured: InstanceMeasurement) -> resources.InstanceSample:
    """One instance on its own: what is shown of it, and what was measured."""
    instance = measured.instance
    shown = of_instance(instance, measured.node_id)
    return resources.InstanceSample(
        agent_id=instance.agent_id,
        load=measured.heartbeat.load if measured.heartbeat is not None else None,
        process=_of_usage(measured.usage) if measured.usage is not None else None,
        measured_at=moment(measured.at),
        **shown.model_dump(exclude={"last_exit"}),
    )


def _of_usage(usage: Usage) -> resources.UsageView:
    return resources.UsageView(
        processes=usage.processes,
        rss_bytes=usage.rss_bytes,
        cpu_s=usage.cpu_s,
        threads=usage.threads,
        open_files=usage.open_files,
    )


def of_log_tail(tail: LogTail) -> resources.LogStream:
    """The end of one output stream."""
    return resources.LogStream(
        instance_id=tail.instance_id,
        stream=tail.stream,
        path=tail.path,
        lines=list(tail.lines),
        end_offset=tail.end_offset,
    )


def of_package(package: Package) -> resources.PackageView:
    """A package with its faults."""
    return resources.PackageView(
        name=package.name,
        node=package.node_id,
        path=package.path,
        status=package.status.value,
        agent_id=package.agent_id,
        version=package.spec.version if package.spec is not None else None,
        digest=package.digest,
        faults=_faults(package.faults),
        updated_at=moment(package.updated_at),
    )


def _faults(faults: Sequence[ManifestFault]) -> list[resources.FaultView]:
    return [
        resources.FaultView(
            file=fault.file,
            line=fault.line,
            key=fault.key,
            value=fault.value,
            expected=fault.expected,
            message=fault.message,
        )
        for fault in faults
    ]


def of_node(snapshot: NodeSnapshot) -> resources.NodeView:
    """A node."""
    identity = snapshot.identity
    return resources.NodeView(
        id=identity.node_id,
        cluster_id=identity.cluster_id,
        version=identity.version,
        manager_pid=identity.manager_pid,
        launcher_pid=identity.launcher_pid,
        started_at=moment(identity.started_at),
        host=dict(snapshot.host),
        agents=snapshot.agents,
        instances=dict(snapshot.instances),
        store=resources.StoreView(
            available=snapshot.store.available, reason=snapshot.store.reason, since=moment(snapshot.store.since)
        ),
    )
