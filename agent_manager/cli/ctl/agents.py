"""`agentctl ls` and `show`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agent_manager.cli.ctl import terminal
from agent_manager.cli.ctl.api import Api, agent_path, understood
from agent_manager.cli.ctl.failures import ExitCode
from agent_manager.cli.ctl.terminal import status, text
from agent_manager.protocol.resources import AgentList, AgentView, ExitView, InstanceView


async def list_agents(api: Api, *, as_json: bool) -> ExitCode:
    """Print a line for each agent."""
    document = await api.all_pages("/agents")
    if as_json:
        terminal.print_json(document)
        return ExitCode.OK
    agents = understood(AgentList, document).items
    if agents:
        terminal.out().print(_overview(agents, datetime.now(UTC)))
    else:
        terminal.complain("no agents yet; one appears when a folder with an agent.yaml is put into agent_packages/")
    return ExitCode.OK


async def show_agent(api: Api, agent_id: str, *, as_json: bool) -> ExitCode:
    """Print everything about one agent."""
    document = await api.get(agent_path(agent_id))
    if as_json:
        terminal.print_json(document)
        return ExitCode.OK
    agent, console = understood(AgentView, document), terminal.out()
    console.print(_properties(agent))
    if agent.instances:
        console.print()
        _print_instances(agent, console)
    return ExitCode.OK


def _overview(agents: list[AgentView], now: datetime) -> Table:
    made = terminal.table(
        "ID", "LIFECYCLE", "AVAILABILITY", "RUNNING", "RESTARTS", "PID", "UPTIME", "VERSION", whole=("ID",)
    )
    for agent in agents:
        made.add_row(
            text(agent.id, "bold"),
            status(agent.lifecycle),
            status(agent.availability),
            text(f"{len(terminal.running(agent))}/{agent.replicas}"),
            text(sum(instance.restarts for instance in agent.instances)),
            text(terminal.pids(agent.instances)),
            text(terminal.uptime(agent.instances, now)),
            text(agent.version),
        )
    return made


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
    yield "package", text(f"{agent.package} {agent.version}")
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
    yield "running", text(f"{len(terminal.running(agent))}/{agent.replicas}")
    yield "capabilities", text(", ".join(capability.name for capability in agent.capabilities) or None)
    yield "config", text(json.dumps(agent.config, ensure_ascii=False))
    yield "created", text(terminal.moment(agent.created_at))
    yield "updated", text(terminal.moment(agent.updated_at))


def _print_instances(agent: AgentView, console: Console) -> None:
    now = datetime.now(UTC)
    made = terminal.table(
        "INSTANCE",
        "STATUS",
        "PID",
        "RESTARTS",
        "UPTIME",
        "VERSION",
        "NODE",
        "LAST HEARTBEAT",
        "REASON",
        whole=("INSTANCE",),
    )
    for instance in agent.instances:
        made.add_row(
            text(instance.id, "bold"),
            status(instance.status),
            text(instance.pid),
            text(instance.restarts),
            text(terminal.uptime([instance], now)),
            text(_version(instance)),
            text(instance.node),
            text(terminal.moment(instance.last_heartbeat)),
            text(instance.reason),
        )
    console.print(made)
    for instance in agent.instances:
        if ended := instance.last_exit:
            console.print(
                text(f"{instance.id} last ended {terminal.moment(ended.at)}: {ended.reason} ({ended.message})")
            )
            for stream, line in _last_lines(ended):
                console.print(text(f"  {stream}  {line}", "dim"))


def _version(instance: InstanceView) -> str | None:
    if instance.version is None or instance.digest is None:
        return instance.version
    return f"{instance.version} {terminal.digest(instance.digest)}"


def _last_lines(ended: ExitView) -> Iterator[tuple[str, str]]:
    if ended.last_lines is not None:
        for stream, lines in (("out", ended.last_lines.out), ("err", ended.last_lines.err)):
            yield from ((stream, line) for line in lines)
