"""What the API says of agents and packages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar

import httpcore
from pydantic import ValidationError

from agent_manager.adapters import installation
from agent_manager.cli.ctl import unreachable
from agent_manager.cli.ctl.http import Answer, Http, Parameters
from agent_manager.doctor.findings import Finding, Patient, fault, ok, warning
from agent_manager.doctor.node import state_of
from agent_manager.domain.agents import PackageStatus
from agent_manager.domain.lifecycle import Lifecycle
from agent_manager.protocol.operations import MAX_PAGE_SIZE
from agent_manager.protocol.resources import AgentList, AgentView, PackageList, PackageView
from management_api.problems import Problem

API_TIMEOUT_S = 5.0

_BEHIND = frozenset({"node", "NATS", "database"})
"""What the API leans on, by the subject of the findings."""
_OF_WHAT_IS_BEHIND = frozenset({HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT})

Page = TypeVar("Page", AgentList, PackageList)


class _RefusedError(Exception):
    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


async def agents_and_packages(patient: Patient) -> AsyncIterator[Finding]:
    """Agents that do not run as they should; packages whose environment could not be made."""
    state = state_of(patient.settings.data_dir) if patient.is_running else None
    if state is None or "api_url" not in state:
        return
    try:
        async with aclosing(Http(state["api_url"])) as http:
            agents = [agent async for page in _pages(http, "/api/v1/agents", AgentList) for agent in page.items]
            packages = [each async for page in _pages(http, "/api/v1/packages", PackageList) for each in page.items]
    except (_RefusedError, *unreachable.FAILURES) as error:
        yield _unanswered(error, state["api_url"], patient)
        return
    unwell = [finding for agent in agents for finding in _of_agent(agent)]
    for finding in unwell:
        yield finding
    if not unwell:
        yield ok("agents", f"{len(agents)} registered, none in trouble")
    data_dir = patient.settings.data_dir
    node = installation.load(data_dir)
    # The environments of other nodes, and their logs, are elsewhere.
    for package in (each for each in packages if node is not None and each.node == node.node_id):
        for finding in _of_package(package, data_dir):
            yield finding


async def _pages(http: Http, path: str, model: type[Page]) -> AsyncIterator[Page]:
    token: str | None = None
    while True:
        parameters: Parameters = {"page_size": MAX_PAGE_SIZE} | ({} if token is None else {"page_token": token})
        answer = await http.request("GET", path, parameters, timeout_s=API_TIMEOUT_S)
        if not answer.is_success:
            raise _RefusedError(answer)
        try:
            page = model.model_validate_json(answer.body)
        except ValidationError as error:
            raise _RefusedError(answer) from error
        yield page
        token = page.next_page_token
        if token is None:
            return


def _unanswered(error: Exception, url: str, patient: Patient) -> Finding:
    match error:
        case _RefusedError(answer=answer):
            words = f"{url} answers with {answer.status}: {_detail(answer)}"
            behind = _BEHIND if answer.status in _OF_WHAT_IS_BEHIND else frozenset()
        case httpcore.TimeoutException():
            words = f"{url} does not answer: no answer within {API_TIMEOUT_S:g} s"
            # A process that is gone ("node") may be that of the API itself.
            behind = _BEHIND - {"node"}
        case _:
            words, behind = f"{url} does not answer: {error or type(error).__name__}", frozenset()
    causes = sorted(patient.at_fault & behind)
    if causes:
        return warning("API", f"agents could not be looked at: {words}", f"mend the fault of {', '.join(causes)} first")
    return fault("API", words, f"{patient.settings.data_dir / 'logs' / 'services' / 'api.log'} says why")


def _detail(answer: Answer) -> str:
    try:
        return Problem.model_validate_json(answer.body).detail
    except ValidationError:
        return "no answer of the management API"


def _of_agent(agent: AgentView) -> Iterator[Finding]:
    if not agent.available and agent.lifecycle == Lifecycle.ACTIVE:
        yield warning(
            f"agent {agent.id}",
            f"it is to run, and the folder of its package {agent.package} is gone",
            f"put the folder back; or, if it is not to run any more, `agentctl stop {agent.id}`",
        )
    for instance in agent.instances:
        if instance.status in ("error", "backoff", "inactive"):
            yield fault(
                f"agent {agent.id}",
                f"{instance.id} is {instance.status}: {instance.reason or 'no reason known'}",
                f"`agentctl show {agent.id}` and `agentctl logs {agent.id}` tell more; "
                f"`agentctl restart {agent.id}` tries again",
            )


def _of_package(package: PackageView, data_dir: Path) -> Iterator[Finding]:
    if package.status != PackageStatus.FAILED:
        return
    for wrong in package.faults:
        yield fault(
            f"package {package.name}",
            f"its environment could not be made: {wrong.message}",
            f"{data_dir / 'logs' / 'environments' / f'{package.name}.log'} has all that the installer said; mend "
            f"{Path(package.path).parent / wrong.file}, or try the same again: `agentctl package retry {package.name}`",
        )
