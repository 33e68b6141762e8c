"""A real nats-server as `agent-manager up` prepares it, on a random port, for the time of one test.

    async with running_nats(tmp_path) as nats:
        manager = await nats.connect_as_manager()

Connections are closed and the process is ended with the block.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from nats.aio.client import Client, RawCredentials

from agent_manager.adapters.nats.credentials import LaunchIdentities
from agent_manager.adapters.nats.embedded import EmbeddedNats, free_port, prepare
from agent_manager.adapters.system import SystemClock
from agent_manager.nats_access.client import AccessClient
from agent_manager.ports.identities import LaunchName
from agent_manager.protocol import subjects
from tests.harness.waiting import eventually

HOST = "127.0.0.1"
NODE_ID = "node-1"


async def settle(*connections: Client) -> None:
    """Until the server has handled all that these connections sent, and they have received what it sent them.

    The ping of a flush overtakes what was written since the event loop last ran, hence a second one.
    """
    for connection in connections:
        await connection.flush()
        await connection.flush()


class NatsHarness:
    """A server, the identities it knows, and every connection made through it.

    `errors` holds what the server told these connections asynchronously, permission violations for the most part. All
    connections reconnect quickly and for ever.
    """

    def __init__(self, prepared: EmbeddedNats, log: Path) -> None:
        self.prepared = prepared
        self.url = prepared.url
        self.files = prepared.files
        self.node_id = NODE_ID
        self.identities = self.identities_for(lifetime_s=None)
        self.log = log
        self.errors: list[Exception] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._connections: list[Client] = []

    def identities_for(self, *, lifetime_s: float | None) -> LaunchIdentities:
        """Identities of launches whose users live that long."""
        return LaunchIdentities(
            directory=self.prepared.files.launch_credentials,
            directory_of_others=self.prepared.files.launch_credentials.with_name("others"),
            issuer=self.prepared.keyring.issuer,
            node_id=self.node_id,
            clock=SystemClock(),
            lifetime_s=lifetime_s,
        )

    async def connect_as_manager(self, **options: Any) -> Client:
        """A connection that may do everything in the account."""
        return await self.connect(self.files.manager_credentials, subjects.MANAGER_INBOX_PREFIX, **options)

    async def connect_as_api(self, **options: Any) -> Client:
        """A connection of the management API."""
        return await self.connect(self.files.api_credentials, subjects.API_INBOX_PREFIX, **options)

    async def connect_as_service(self, **options: Any) -> Client:
        """A connection of an operator's tool."""
        return await self.connect(self.files.service_credentials, "_INBOX", **options)

    async def connect_as_launch(self, agent_id: str, instance_id: str, launch_id: str, **options: Any) -> Client:
        """A connection of one launch, whose identity is issued first."""
        path = self.identities.issue(LaunchName(agent_id, instance_id, launch_id))
        return await self.connect(Path(path), subjects.inbox_prefix(instance_id, launch_id), **options)

    async def connect(self, credentials: Path | RawCredentials, inbox_prefix: str, **options: Any) -> Client:
        """A connection with any credentials, or the path of their file; `options` go to `Client.connect`."""

        async def note(error: Exception) -> None:
            self.errors.append(error)

        connection = AccessClient(tls_wanted=False)
        await connection.connect(
            **{
                "servers": self.url,
                "user_credentials": credentials,
                "inbox_prefix": inbox_prefix,
                "error_cb": note,
                "max_reconnect_attempts": -1,
                "reconnect_time_wait": 0.05,
                **options,
            }
        )
        self._connections.append(connection)
        return connection

    async def start(self) -> None:
        """Start the server and wait until it accepts connections.

        Raises RuntimeError with its log when it ends instead.
        """
        process = self._process = self._spawn()
        await eventually(lambda: process.poll() is not None or self._accepts())
        if process.poll() is not None:
            raise RuntimeError(f"nats-server ended with {process.returncode}:\n{self.log.read_text()}")

    async def kill(self) -> None:
        """End the server as a loss of power would, as far as a process can (SIGKILL)."""
        await self._end("kill")

    async def stop(self) -> None:
        """End the server in order (SIGTERM)."""
        await self._end("terminate")

    def hang(self) -> None:
        """Let the server keep its connections and do nothing (SIGSTOP)."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """End the hang (SIGCONT)."""
        self._signal(signal.SIGCONT)

    async def restart(self) -> None:
        """Stop the server if it runs, and start it on the same port with the same data."""
        await self.stop()
        await self.start()

    async def prepare_again(self) -> None:
        """What a second `up` of the same installation does: prepare on the same port, and start."""
        await self.stop()
        self.prepared = prepare(data_dir=self.files.data_dir, host=HOST, port=self.prepared.port, now=time.time())
        await self.start()

    async def close(self) -> None:
        """Close every connection, then end the server."""
        for connection in self._connections:
            await connection.close()
        await self.kill()

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self.prepared.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def _end(self, how: str) -> None:
        process, self._process = self._process, None
        if process is not None:
            getattr(process, how)()
            await eventually(lambda: process.poll() is not None)

    def _accepts(self) -> bool:
        with closing(socket.socket()) as probe:
            return probe.connect_ex((HOST, self.prepared.port)) == 0


@asynccontextmanager
async def running_nats(data_dir: Path) -> AsyncIterator[NatsHarness]:
    """A server with its keys, data and log under `data_dir`."""
    prepared = prepare(data_dir=data_dir, host=HOST, port=free_port(HOST), now=time.time())
    harness = NatsHarness(prepared, data_dir / "nats-server.log")
    try:
        await harness.start()
        yield harness
    finally:
        await harness.close()
