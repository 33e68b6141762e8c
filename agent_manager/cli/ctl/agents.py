"""`agentctl ls`, `show` and `status`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from agent_manager.cli.ctl import terminal
from agent_manager.cli.ctl.api import agent_path
from agent_manager.cli.ctl.inventory import faults_of
from agent_manager.cli.ctl.tables import Listing
from agent_manager.cli.ctl.terminal import name, status, text
from agent_manager.cli.ctl.views import View
from agent_manager.protocol.resources import AgentList, AgentView, ExitView, InstanceView, StatusResult

ALL = View(
    path="/agents",
    model=AgentList,
    shown=lambda agents, wide: _overview(agents.items, wide=wide),
    names=lambda agents: [agent.id for agent in agents.items],
    is_list=True,
    if_empty="no agents yet; one appears when a folder with an agent.yaml is put into agent_packages/ "
    "(`agentctl packages` tells of those that cannot be used)",
)
"""All agents, a line each."""


def everything_about(agent_id: str) -> View[AgentView]:
    """One agent in full. Raises AgentctlError for what cannot be an id."""
    return View(
        path=agent_path(agent_id),
        model=AgentView,
        shown=lambda agent, wide: _everything(agent, wide=wide),
        names=lambda agent: [agent.id],
        agent_id=agent_id,
    )


def status_of(agent_id: str) -> View[StatusResult]:
    """One agent in short. Raises AgentctlError for what cannot be an id."""
    return View(
        path=agent_path(agent_id, "status"),
        model=StatusResult,
        shown=lambda agent, wide: _in_short(agent, wide=wide),
        names=lambda agent: [agent.agent_id],
        agent_id=agent_id,
    )


def _overview(agents: Sequence[AgentView], *, wide: bool) -> Iterator[RenderableType]:
    if not agents:
        return
    now = datetime.now(UTC)
    headings = ("ID", "LIFECYCLE", "AVAILABILITY", "RUNNING", "RESTARTS", "PID", "UPTIME", "VERSION")
    more = ("HEALTH", "TYPE", "MODEL", "PACKAGE", "NODES") if wide else ()
    made = Listing(*headings, *more, whole=("ID", "LIFECYCLE", "AVAILABILITY", "RUNNING"))
    for agent in agents:
        made.add(
            name(agent.id, "bold"),
            status(agent.lifecycle),
            status(agent.availability),
            _running(agent),
            text(sum(instance.restarts for instance in agent.instances)),
            text(terminal.pids(agent.instances)),
            text(terminal.uptime(agent.instances, now)),
            text(agent.version if agent.available else f"{agent.version} (folder gone)"),
            *(_more_of(agent) if wide else ()),
        )
    yield made


def _running(agent: AgentView) -> Text:
    """How many of how many, and what the others do: `backoff` starts again by itself, `error` does not."""
    others = sorted({instance.status for instance in agent.instances} - {"running"})
    parts = (status(one) for one in others)
    return Text(" ").join((text(f"{len(terminal.running(agent))}/{agent.replicas}"), *parts))


def _more_of(agent: AgentView) -> Iterator[Text]:
    yield status(agent.health)
    yield name(agent.type)
    yield name(agent.model)
    yield name(agent.package)
    yield name(", ".join(sorted({instance.node for instance in agent.instances})) or None)


def _everything(agent: AgentView, *, wide: bool) -> Iterator[RenderableType]:
    yield _properties(agent)
    if agent.faults:
        yield ""
        yield name(f"{agent.package} cannot be taken as it is now:", "red")
        yield from faults_of(agent.faults)
    if agent.instances:
        yield ""
        yield from _instances(agent.instances, wide=wide)


def _in_short(agent: StatusResult, *, wide: bool) -> Iterator[RenderableType]:
    states = (status(agent.lifecycle), status(agent.availability), status(agent.health))
    words = zip(("lifecycle ", ", availability ", ", health "), states, strict=True)
    yield Text.assemble((agent.agent_id, "bold"), ": ", *(part for pair in words for part in pair))
    if agent.instances:
        yield ""
        yield from _instances(agent.instances, wide=wide)


def _properties(agent: AgentView) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for label, value in _labelled(agent):
        grid.add_row(label, value)
    return grid


def _labelled(agent: AgentView) -> Iterator[tuple[str, Text]]:
    yield "id", text(agent.id, "bold")
    if agent.name != agent.id:
        yield "name", text(agent.name)
    gone = "" if agent.available else " (its folder is gone)"
    yield "package", text(f"{agent.package} {agent.version}{gone}")
    if agent.digest is not None:
        behind = "" if agent.up_to_date else " (not all instances run it)"
        yield "digest", text(f"{terminal.digest(agent.digest)}{behind}")
    yield "type", text(agent.type)
    if agent.model:
        yield "model", text(agent.model)
    if agent.description:
        yield "description", text(agent.description)
    yield "lifecycle", status(agent.lifecycle)
    yield "availability", status(agent.availability)
    yield "health", status(agent.health)
    yield "running", _running(agent)
    yield "capabilities", text(", ".join(capability.name for capability in agent.capabilities) or None)
    yield "config", text(json.dumps(agent.config, ensure_ascii=False))
    yield "created", text(terminal.moment(agent.created_at))
    yield "updated", text(terminal.moment(agent.updated_at))


def _instances(instances: Sequence[InstanceView], *, wide: bool) -> Iterator[RenderableType]:
    now = datetime.now(UTC)
    headings = ("INSTANCE", "STATUS", "PID", "RESTARTS", "UPTIME", "VERSION", "NODE", "LAST HEARTBEAT", "REASON")
    more = ("INCARNATION",) if wide else ()
    made = Listing(*headings, *more, whole=("INSTANCE", "STATUS", "PID"))
    for instance in instances:
        made.add(
            name(instance.id, "bold"),
            status(instance.status),
            text(instance.pid),
            text(instance.restarts),
            text(terminal.uptime([instance], now)),
            name(_version(instance)),
            name(instance.node),
            text(terminal.moment(instance.last_heartbeat)),
            name(instance.reason),
            *((text(instance.incarnation),) if wide else ()),
        )
    yield made
    for instance in instances:
        if ended := instance.last_exit:
            used = f"{ended.cpu_s:.1f} s of CPU, {ended.max_rss_bytes / 1e6:.0f} MB at most"
            words = f"{ended.reason} ({ended.message}{', core dumped' if ended.core_dumped else ''}; {used})"
            yield text(f"{instance.id} last ended {terminal.moment(ended.at)}: {words}")
            yield from (text(f"  {stream}  {line}", "dim") for stream, line in _last_lines(ended))


def _version(instance: InstanceView) -> str | None:
    if instance.version is None or instance.digest is None:
        return instance.version
    return f"{instance.version} {terminal.digest(instance.digest)}"


def _last_lines(ended: ExitView) -> Iterator[tuple[str, str]]:
    if ended.last_lines is not None:
        for stream, lines in (("out", ended.last_lines.out), ("err", ended.last_lines.err)):
            yield from ((stream, line) for line in lines)
