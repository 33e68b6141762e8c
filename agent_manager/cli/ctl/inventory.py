"""`agentctl packages` and `nodes`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import quote

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from agent_manager.cli.ctl import formats, terminal
from agent_manager.cli.ctl.api import Api
from agent_manager.cli.ctl.failures import ExitCode
from agent_manager.cli.ctl.tables import Listing
from agent_manager.cli.ctl.terminal import name, status, text
from agent_manager.cli.ctl.views import View
from agent_manager.protocol.resources import FaultView, NodeList, NodeView, PackageList, PackageView

PACKAGES = View(
    path="/packages",
    model=PackageList,
    shown=lambda packages, wide: _packages(packages.items, wide=wide),
    names=lambda packages: [package.name for package in packages.items],
    is_list=True,
    if_empty="no packages yet; one appears when a folder with an agent.yaml is put into agent_packages/",
)
"""All packages, a line each, and below the table what is wrong with the invalid ones."""

NODES = View(
    path="/nodes",
    model=NodeList,
    shown=lambda nodes, wide: _nodes(nodes.items, wide=wide),
    names=lambda nodes: [node.id for node in nodes.items],
    is_list=True,
)
"""All nodes, a line each."""


def counts(by_status: Mapping[str, int]) -> str | None:
    """Numbers of instances by status; None where there is none."""
    return ", ".join(f"{count} {status_}" for status_, count in sorted(by_status.items())) or None


def _packages(packages: Sequence[PackageView], *, wide: bool) -> Iterator[RenderableType]:
    if not packages:
        return
    headings = ("PACKAGE", "STATUS", "AGENT", "VERSION", "DIGEST", "NODE", "PATH")
    made = Listing(*headings, *(("UPDATED",) if wide else ()), whole=("PACKAGE", "STATUS", "AGENT"))
    for package in packages:
        made.add(
            name(package.name, "bold"),
            status(package.status),
            name(package.agent_id),
            name(package.version),
            text(terminal.digest(package.digest)),
            name(package.node),
            name(package.path),
            *((text(terminal.moment(package.updated_at)),) if wide else ()),
        )
    yield made
    for package in packages:
        if package.faults:
            yield ""
            yield name(f"{package.name} ({package.path}):", "red")
            yield from faults_of(package.faults)


async def retry_package(api: Api, name_: str, *, as_json: bool) -> ExitCode:
    """Ask for it; what comes of it is seen in the list of packages."""
    document = await api.post(f"/packages/{quote(name_, safe='')}/retry")
    if as_json:
        formats.print_json(document)
    else:
        terminal.out().print(name(f"{name_}: tried again; `agentctl packages` shows what came of it"))
    return ExitCode.OK


def faults_of(faults: Sequence[FaultView]) -> Iterator[RenderableType]:
    """A line for each, below what they are faults of."""
    for fault in faults:
        yield Padding(name(_explained(fault)), (0, 0, 0, 2), expand=False)


def _explained(fault: FaultView) -> str:
    """A fault as compilers write them: `file:line: message`. The message names key, value and what was expected."""
    place = fault.file if fault.line is None else f"{fault.file}:{fault.line}"
    return f"{place}: {fault.message}"


def _nodes(nodes: Sequence[NodeView], *, wide: bool) -> Iterator[RenderableType]:
    now = datetime.now(UTC)
    headings = ("NODE", "HOST", "AGENTS", "INSTANCES", "UPTIME", "VERSION", "MANAGER", "LAUNCHER")
    more = ("CPUS", "MEMORY", "PLATFORM") if wide else ()
    made = Listing(*headings, *more, whole=("NODE",))
    for node in nodes:
        made.add(
            name(node.id, "bold"),
            name(node.host.get("hostname")),
            text(node.agents),
            name(counts(node.instances)),
            text(terminal.duration((now - node.started_at).total_seconds())),
            name(node.version),
            text(node.manager_pid),
            text(node.launcher_pid),
            *((name(node.host.get("cpus")), _memory(node), name(node.host.get("platform"))) if wide else ()),
        )
    yield made


def _memory(node: NodeView) -> Text:
    memory = node.host.get("memory_bytes")
    return text(terminal.size(memory) if isinstance(memory, int | float) else None)
