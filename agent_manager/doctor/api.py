"""What the API says of agents and packages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TypeVar

import httpx

from agent_manager.adapters import installation
from agent_manager.doctor.findings import Finding, Patient, fault, ok
from agent_manager.doctor.node import state_of
from agent_manager.domain.agents import PackageStatus
from agent_manager.protocol.resources import AgentList, AgentView, PackageList, PackageView

API_TIMEOUT_S = 5.0

Page = TypeVar("Page", AgentList, PackageList)


async def agents_and_packages(patient: Patient) -> AsyncIterator[Finding]:
    """Agents that do not run as they should; packages whose environment could not be made."""
    state = state_of(patient.settings.data_dir) if patient.is_running else None
    if state is None or "api_url" not in state:
        return
    try:
        async with httpx.AsyncClient(base_url=state["api_url"], trust_env=False, timeout=API_TIMEOUT_S) as http:
            agents = [agent async for page in _pages(http, "/api/v1/agents", AgentList) for agent in page.items]
            packages = [each async for page in _pages(http, "/api/v1/packages", PackageList) for each in page.items]
    except httpx.HTTPError as error:
        why = f"no answer within {API_TIMEOUT_S:g} s" if isinstance(error, httpx.TimeoutException) else error
        yield fault(
            "API",
            f"{state['api_url']} does not answer: {why or type(error).__name__}",
            f"{patient.settings.data_dir / 'logs' / 'services' / 'api.log'} says why",
        )
        return
    unwell = [finding for agent in agents for finding in _of_agent(agent)]
    for finding in unwell:
        yield finding
    if not unwell:
        yield ok("agents", f"{len(agents)} registered, none in trouble")
    for package in packages:
        for finding in _of_package(package, patient.settings.data_dir):
            yield finding


async def _pages(http: httpx.AsyncClient, path: str, model: type[Page]) -> AsyncIterator[Page]:
    token: str | None = None
    while True:
        params = {"page_size": "1000"} | ({"page_token": token} if token is not None else {})
        answer = await http.get(path, params=params)
        answer.raise_for_status()
        page = model.model_validate_json(answer.content)
        yield page
        token = page.next_page_token
        if token is None:
            return


def _of_agent(agent: AgentView) -> Iterator[Finding]:
    for instance in agent.instances:
        if instance.status in ("error", "backoff", "inactive"):
            yield fault(
                f"agent {agent.id}",
                f"{instance.id} is {instance.status}: {instance.reason or 'no reason known'}",
                f"`agentctl show {agent.id}` and `agentctl logs {agent.id}` tell more; "
                f"`agentctl restart {agent.id}` tries again",
            )


def _of_package(package: PackageView, data_dir: Path) -> Iterator[Finding]:
    node = installation.load(data_dir)
    # The environments of other nodes, and their logs, are elsewhere.
    if package.status != PackageStatus.FAILED or node is None or package.node != node.node_id:
        return
    for wrong in package.faults:
        yield fault(
            f"package {package.name}",
            f"its environment could not be made: {wrong.message}",
            f"{data_dir / 'logs' / 'environments' / f'{package.name}.log'} has all that the installer said; mend "
            f"{Path(package.path).parent / wrong.file}, or try the same again: `agentctl package retry {package.name}`",
        )
