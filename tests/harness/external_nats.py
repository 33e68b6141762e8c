"""nats-servers as somebody else runs them: any configuration, alone or as a cluster, on random ports.

async with external_nats(tmp_path, {"authorization": {"token": "secret"}}) as server:
    ...
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any

import trustme

from agent_manager.adapters.nats.embedded import find_server, free_port
from tests.harness.waiting import eventually

HOST = "127.0.0.1"


class ExternalNats:
    """One server. It keeps its port when it is started again. `more` is configuration in the server's own format."""

    def __init__(
        self, folder: Path, configuration: Mapping[str, Any], *, name: str = "external", more: str = ""
    ) -> None:
        self.port = free_port(HOST)
        self.url = f"nats://{HOST}:{self.port}"
        self.name = name
        self._file = folder / f"{name}.conf"
        self._log = folder / f"{name}.log"
        base = {"server_name": name, "host": HOST, "port": self.port, "lame_duck_duration": "30s"}
        # As short as the server allows, so that tests need not wait.
        whole = json.dumps({**base, "lame_duck_grace_period": "1s", **configuration})
        # Without its braces a JSON object is a configuration that can be added to.
        self._file.write_text(f"{whole[1:-1]}\n{more}")
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Until it accepts connections. Raises RuntimeError with its log when it ends instead."""
        process = self._process = self._spawn()
        await eventually(lambda: process.poll() is not None or self._accepts())
        if process.poll() is not None:
            raise RuntimeError(f"nats-server ended with {process.returncode}:\n{self._log.read_text()}")

    async def kill(self) -> None:
        """SIGKILL."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            await eventually(lambda: process.poll() is not None)

    def lame_duck(self) -> None:
        """Have it ask its clients to go elsewhere."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGUSR2)

    def _spawn(self) -> subprocess.Popen[bytes]:
        argv = [str(find_server()), "--config", str(self._file)]
        with self._log.open("ab") as log:
            return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def _accepts(self) -> bool:
        with closing(socket.socket()) as probe:
            return probe.connect_ex((HOST, self.port)) == 0


@asynccontextmanager
async def external_nats(folder: Path, configuration: Mapping[str, Any]) -> AsyncIterator[ExternalNats]:
    """A server alone, killed with the block."""
    server = ExternalNats(folder, configuration)
    try:
        await server.start()
        yield server
    finally:
        await server.kill()


@asynccontextmanager
async def nats_cluster(folder: Path, size: int, configuration: Mapping[str, Any]) -> AsyncIterator[list[ExternalNats]]:
    """Servers that know each other; yielded once each has told a client of all others.

    Where `configuration` has `jetstream`, each keeps its streams in a place of its own below `store_dir`.
    """
    routes = [free_port(HOST) for _ in range(size)]
    async with AsyncExitStack() as stack:
        servers = []
        for number, port in enumerate(routes):
            cluster = {
                "name": "C",
                "listen": f"{HOST}:{port}",
                "routes": [f"nats://{HOST}:{other}" for other in routes if other != port],
            }
            own: dict[str, Any] = {"cluster": cluster}
            if streams := configuration.get("jetstream"):
                own["jetstream"] = {**streams, "store_dir": f"{streams['store_dir']}/{number}"}
            server = ExternalNats(folder, {**configuration, **own}, name=f"server-{number}")
            stack.push_async_callback(server.kill)
            await server.start()
            servers.append(server)
        await eventually(lambda: all(_peers_of(server) == size for server in servers))
        yield servers


def _peers_of(server: ExternalNats) -> int:
    """How many servers it tells a client of, itself included."""
    with closing(socket.create_connection((HOST, server.port), timeout=5)) as client:
        info = json.loads(client.makefile("rb").readline().removeprefix(b"INFO "))
    return len(info.get("connect_urls") or ())


class Certificates:
    """A CA and what it has signed, as files."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        self._authority = trustme.CA()
        self.ca = folder / f"{name}.pem"
        self._authority.cert_pem.write_to_path(self.ca)

    def issue(self, name: str, *identities: str, **options: Any) -> tuple[Path, Path]:
        """A certificate for these names and addresses, and its key."""
        issued = self._authority.issue_cert(*identities, **options)
        certificate, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        issued.cert_chain_pems[0].write_to_path(certificate)
        issued.private_key_pem.write_to_path(key)
        return certificate, key


def tls_block(pair: Sequence[Path], **more: Any) -> dict[str, Any]:
    """The server's configuration for a certificate and its key."""
    certificate, key = pair
    return {"tls": {"cert_file": str(certificate), "key_file": str(key), **more}}
