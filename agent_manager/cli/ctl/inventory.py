"""`agentctl packages` and `nodes`."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote

from rich.padding import Padding
from rich.table import Table

from agent_manager.cli.ctl import terminal
from agent_manager.cli.ctl.api import Api, understood
from agent_manager.cli.ctl.failures import ExitCode
from agent_manager.cli.ctl.terminal import name, status, text
from agent_manager.protocol.resources import FaultView, NodeList, NodeView, PackageList, PackageView


async def list_packages(api: Api, *, as_json: bool) -> ExitCode:
    """Print a line for each package, and below the table what is wrong with the invalid ones."""
    document = await api.all_pages("/packages")
    if as_json:
        terminal.print_json(document)
        return ExitCode.OK
    packages, console = understood(PackageList, document).items, terminal.out()
    console.print(_packages(packages))
    for package in packages:
        if package.faults:
            console.print()
            console.print(name(f"{package.name} ({package.path}):", "red"))
            for fault in package.faults:
                console.print(Padding(name(explained(fault)), (0, 0, 0, 2), expand=False))
    return ExitCode.OK


async def retry_package(api: Api, name_: str, *, as_json: bool) -> ExitCode:
    """Ask for it; what comes of it is seen in the list of packages."""
    document = await api.post(f"/packages/{quote(name_, safe='')}/retry", wait_s=0.0)
    if as_json:
        terminal.print_json(document)
    else:
        terminal.out().print(name(f"{name_}: tried again; `agentctl packages` shows what came of it"))
    return ExitCode.OK


async def list_nodes(api: Api, *, as_json: bool) -> ExitCode:
    """Print a line for each node."""
    document = await api.all_pages("/nodes")
    if as_json:
        terminal.print_json(document)
    else:
        terminal.out().print(_nodes(understood(NodeList, document).items, datetime.now(UTC)))
    return ExitCode.OK


def explained(fault: FaultView) -> str:
    """A fault as compilers write them: `file:line: message`. The message names key, value and what was expected."""
    place = fault.file if fault.line is None else f"{fault.file}:{fault.line}"
    return f"{place}: {fault.message}"


def _packages(packages: list[PackageView]) -> Table:
    made = terminal.table("PACKAGE", "STATUS", "AGENT", "VERSION", "DIGEST", "NODE", "PATH", whole=("PACKAGE", "AGENT"))
    for package in packages:
        made.add_row(
            name(package.name, "bold"),
            status(package.status),
            text(package.agent_id),
            text(package.version),
            text(terminal.digest(package.digest)),
            text(package.node),
            name(package.path),
        )
    return made


def _nodes(nodes: list[NodeView], now: datetime) -> Table:
    made = terminal.table(
        "NODE", "HOST", "AGENTS", "INSTANCES", "UPTIME", "VERSION", "MANAGER", "LAUNCHER", whole=("NODE",)
    )
    for node in nodes:
        counts = ", ".join(f"{count} {status_}" for status_, count in sorted(node.instances.items()))
        made.add_row(
            text(node.id, "bold"),
            text(node.host.get("hostname")),
            text(node.agents),
            text(counts or None),
            text(terminal.duration((now - node.started_at).total_seconds())),
            text(node.version),
            text(node.manager_pid),
            text(node.launcher_pid),
        )
    return made
