"""The output of an agent on a node: real files, by the log pump's own writer, and the manager's part of follow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats.errors
from nats.aio.client import Client

from agent_manager.adapters.logs import LogDirectory
from agent_manager.adapters.system import SystemClock
from agent_manager.domain.errors import AgentManagerError
from agent_manager.launcher.rotating_file import LogFile, RotatingFile
from agent_manager.protocol import operations, resources
from agent_manager.protocol.messages import Request
from agent_manager.protocol.operations import FollowParams
from agent_manager.services.log_following import LogFollowing
from agent_manager.transport.live_logs import LiveLogs, of_piece
from agent_manager.transport.requests import body_of
from tests.harness.fake_manager import FakeManager, instance
from tests.harness.fakes import owned_tasks

PLENTY = 1_000_000


class LogNode:
    """Agent `echo` with instances whose output a test writes."""

    def __init__(self, directory: Path, manager: FakeManager, client: Client, tasks: asyncio.TaskGroup) -> None:
        self._directory = directory
        self._manager = manager
        self._client = client
        self._tasks = tasks
        self._files: dict[str, RotatingFile] = {}
        self.following = self._new_following()
        self.show("echo_0")
        manager.answer_with(operations.AGENTS_FOLLOW, self._follow)

    def show(self, *instances: str, **changes: Any) -> None:
        """The instances there are."""
        status = resources.StatusResult(
            agent_id="echo",
            lifecycle="active",
            availability="active",
            health="unknown",
            instances=[instance(name, **changes) for name in instances],
        )
        self._manager.answer(operations.AGENTS_STATUS, status)

    def write(self, *lines: str, to: str = "echo_0.out", max_bytes: int = PLENTY, files: int = 2) -> None:
        """Add lines to an output stream."""
        self.write_raw("".join(f"{line}\n" for line in lines).encode(), to=to, max_bytes=max_bytes, files=files)

    def write_raw(self, data: bytes, *, to: str = "echo_0.out", max_bytes: int = PLENTY, files: int = 2) -> None:
        """Add bytes."""
        limits = LogFile(str(self._directory / f"{to}.log"), max_bytes, files)
        file = self._files.setdefault(to, RotatingFile(limits))
        file.limits = limits
        file.write(data)

    def restart_manager(self) -> None:
        """The next one knows nothing of who follows."""
        self._publishing.cancel()
        self.following = self._new_following()

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()

    def _new_following(self) -> LogFollowing:
        channel = LiveLogs(lambda: self._client if self._client.is_connected else None)
        following = LogFollowing(logs=LogDirectory(self._directory), channel=channel, clock=SystemClock())
        self._publishing = self._tasks.create_task(following.run())
        return following

    async def _follow(self, request: Request) -> Any:
        params = FollowParams.model_validate(request.params)
        name = params.instance_id or "echo_0"
        starts = {stream: start for stream, start in (("out", params.out), ("err", params.err)) if start is not None}
        try:
            pieces = await self.following.follow(name, starts=starts, tail=params.tail, lease_s=params.lease_s)
        except (AgentManagerError, nats.errors.Error) as error:
            return body_of(error) if isinstance(error, AgentManagerError) else b""
        return resources.FollowResult(
            agent_id="echo",
            instance_id=name,
            streams=[of_piece(name, stream, piece) for stream, piece in pieces.items()],
            more=any(piece.more for piece in pieces.values()),
            lease_s=params.lease_s,
        )


@asynccontextmanager
async def log_node(directory: Path, manager: FakeManager, client: Client) -> AsyncIterator[LogNode]:
    """A node whose manager answers through `manager` and publishes through `client`."""
    async with owned_tasks() as tasks:
        node = LogNode(directory, manager, client, tasks)
        try:
            yield node
        finally:
            node.close()
