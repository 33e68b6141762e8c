"""Agents as processes of their own, started as a manager starts them, for the time of one test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg

from agent_manager.nats_access import environment as bus_environment
from agent_manager.ports.identities import LaunchName
from agent_manager.protocol import environment, subjects
from agent_manager.protocol.messages import MetricsReport, Response, StatusReport
from tests.harness.nats_server import NODE_ID, NatsHarness
from tests.harness.waiting import eventually

REPOSITORY = Path(__file__).parents[3]
AGENT_ID = "worker"


def envelope(command: str, params: Mapping[str, Any] | None = None, **more: Any) -> bytes:
    """The least a command may consist of, and `more`."""
    request = {"command": command, "params": params or {}, "timestamp": datetime.now(UTC).isoformat(), **more}
    return json.dumps(request).encode()


class RunningAgent:
    """One agent's process, what it reported, and a manager's connection to ask it over."""

    process: subprocess.Popen[bytes]

    def __init__(self, manager: Client, log: Path, *, agent_id: str, ordinal: int) -> None:
        self.agent_id = agent_id
        self.instance_id = f"{agent_id}_{ordinal}"
        self.launch_id = f"launch-{ordinal}"
        self.heartbeats: list[StatusReport] = []
        self.metrics: list[MetricsReport] = []
        self._manager = manager
        self._log = log

    @property
    def output(self) -> str:
        """What the process has written so far."""
        return self._log.read_text()

    @property
    def statuses(self) -> list[str]:
        """The statuses reported so far, without repetitions."""
        names = [report.status for report in self.heartbeats]
        return [name for before, name in zip([None, *names], names, strict=False) if name != before]

    async def reports(self, status: str) -> None:
        """Until a heartbeat says `status`. Raises RuntimeError when the process ends instead."""
        await eventually(lambda: status in self.statuses or self.process.poll() is not None)
        if status not in self.statuses:
            raise RuntimeError(f"ended with {self.process.poll()}:\n{self.output}")

    async def ask(self, command: str, params: Mapping[str, Any] | None = None, **more: Any) -> Response:
        """Send a command to this instance."""
        return await self.send(envelope(command, params, **more))

    async def send(self, data: bytes, subject: str | None = None) -> Response:
        """Send any bytes to this instance's command subject, or to `subject`."""
        answer = await self._manager.request(subject or subjects.agent_command(self.instance_id), data, timeout=20)
        return Response.model_validate_json(answer.data)

    async def ends(self) -> int:
        """Until the process ends; its exit code, or minus the number of the signal."""
        await eventually(lambda: self.process.poll() is not None)
        return self.process.returncode

    def terminate(self) -> None:
        """SIGTERM."""
        self.process.send_signal(signal.SIGTERM)

    async def listen(self) -> None:
        """Note what the launch reports."""
        speaker = subjects.LaunchSubject(NODE_ID, self.instance_id, self.launch_id)
        await self._manager.subscribe(subjects.launch_status(speaker), cb=self._note_status)
        await self._manager.subscribe(subjects.launch_metrics(speaker), cb=self._note_metrics)
        await self._manager.flush()

    async def _note_status(self, message: Msg) -> None:
        self.heartbeats.append(StatusReport.model_validate_json(message.data))

    async def _note_metrics(self, message: Msg) -> None:
        self.metrics.append(MetricsReport.model_validate_json(message.data))


def launch_environment(nats: NatsHarness, *, agent_id: str = AGENT_ID, ordinal: int = 0) -> dict[str, str]:
    """The environment of one launch, with credentials of its own."""
    instance_id, launch_id = f"{agent_id}_{ordinal}", f"launch-{ordinal}"
    return {
        environment.AGENT_ID: agent_id,
        environment.AGENT_INSTANCE_ID: instance_id,
        environment.AGENT_LAUNCH_ID: launch_id,
        environment.AGENT_NODE_ID: NODE_ID,
        environment.AGENT_INCARNATION: "7",
        environment.AGENT_VERSION: "1.2.3",
        environment.AGENT_CONFIG: json.dumps({"greeting": "hello"}),
        environment.AGENT_HEARTBEAT_INTERVAL_S: "0.1",
        bus_environment.NATS_URL: nats.url,
        bus_environment.NATS_CREDS: nats.identities.issue(LaunchName(agent_id, instance_id, launch_id)),
    }


def start_process(source: str, variables: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """An agent made of `source` in the folder of `log`, with `variables` in its environment, writing to `log`."""
    script = log.with_suffix(".py")
    script.write_text(source)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AGENT_", "NATS_"))}
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, str(script)],
            cwd=script.parent,
            env={**inherited, "PYTHONPATH": str(REPOSITORY), **variables},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


@asynccontextmanager
async def running_agent(
    nats: NatsHarness,
    folder: Path,
    source: str,
    *,
    agent_id: str = AGENT_ID,
    ordinal: int = 0,
    until: str | None = "running",
    variables: Mapping[str, str] | None = None,
) -> AsyncIterator[RunningAgent]:
    """An agent made of `source`, entered when it reports the status `until`; killed with the block."""
    log = folder / f"agent_{ordinal}.log"
    manager = await nats.connect_as_manager()
    agent = RunningAgent(manager, log, agent_id=agent_id, ordinal=ordinal)
    await agent.listen()
    environ = {**launch_environment(nats, agent_id=agent_id, ordinal=ordinal), **(variables or {})}
    agent.process = start_process(source, environ, log)
    try:
        if until is not None:
            await agent.reports(until)
        yield agent
    finally:
        agent.process.kill()
        agent.process.wait()
        await manager.close()
