"""A whole node under test: `agent-manager up` in a directory of its own, on free ports, ended by its process id."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import nats
import psutil
from nats.aio.client import Client

from agent_manager.adapters.nats.embedded import NatsFiles
from agent_manager.protocol import subjects
from tests.harness.cgroups import remove_cgroups
from tests.harness.waiting import eventually

SHIPPED = Path(__file__).parents[2] / "agent_packages"
UP_TIMEOUT_S = 60.0


def write_package(root: Path, name: str, manifest: str, code: str = "") -> Path:
    """A package folder, complete before it appears under its name."""
    folder = root.parent / f".making-{name}"
    folder.mkdir(parents=True)
    (folder / "agent.py").write_text(code, encoding="utf-8")
    (folder / "agent.yaml").write_text(manifest, encoding="utf-8")
    return folder.rename(root / name)


@dataclass
class Node:
    """Drives one node from outside, as its users do."""

    data_dir: Path
    packages: Path
    database_url: str | None = None
    process: asyncio.subprocess.Process | None = None
    environment: dict[str, str] = field(default_factory=dict)
    """Variables on top of the test's own."""
    http: httpx.AsyncClient = field(default_factory=lambda: httpx.AsyncClient(timeout=60.0))

    # ---------------------------------------------------------------- its life

    async def up(self, *options: str) -> None:
        """Start it and wait until it says that it is up."""
        with (self.data_dir.parent / "console.out").open("ab") as console:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "agent_manager.cli", "up"),
                *("--data-dir", str(self.data_dir), "--packages", str(self.packages)),
                *("--port", "0", "--nats-port", "0"),
                *options,
                *(("--database-url", self.database_url) if self.database_url is not None else ()),
                env={**os.environ, **self.environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=console,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        await eventually(self._is_up, UP_TIMEOUT_S)

    def _is_up(self) -> bool:
        assert self.process is not None
        if self.process.returncode is not None:
            raise AssertionError(f"the node ended with code {self.process.returncode}:\n{self.console()}")
        with contextlib.suppress(FileNotFoundError):
            # A file that a killed launcher has left is removed by the next start, perhaps at this moment.
            return bool(self.state["pids"]["launcher"] == self.process.pid)
        return False

    async def stop(self) -> int:
        """Ctrl-C, and wait for the end; returns the exit code."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGINT)
        return await asyncio.wait_for(self.process.wait(), UP_TIMEOUT_S)

    async def close(self) -> None:
        """End everything, whatever state it is in."""
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(TimeoutError):
                await self.stop()
            if self.process.returncode is None:
                self.process.kill()
                await self.process.wait()
        for left in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()
        if (self.data_dir / "node.json").exists():
            remove_cgroups(self.tag().partition("=")[2])
        await self.http.aclose()

    # ---------------------------------------------------------------- looking at it

    @property
    def state(self) -> dict[str, Any]:
        """What `up.json` says."""
        state: dict[str, Any] = json.loads((self.data_dir / "up.json").read_text(encoding="utf-8"))
        return state

    def pid(self, name: str) -> int:
        """The process id of launcher, manager, api or nats; 0 while there is none."""
        return int(self.state["pids"][name] or 0)

    async def replaced(self, name: str, old: int) -> int:
        """Wait until a service has another process than `old`; returns it."""
        await eventually(lambda: self.pid(name) not in (0, old), 60.0)
        return self.pid(name)

    def console(self) -> str:
        """What a person saw in the terminal."""
        return (self.data_dir.parent / "console.out").read_text(encoding="utf-8")

    async def query(self, statement: str) -> list[Any]:
        """The first column of what the node's database answers."""
        if self.database_url is None:
            with contextlib.closing(sqlite3.connect(self.data_dir / "agent-manager.db")) as connection:
                return [row[0] for row in connection.execute(statement)]
        connected = await asyncpg.connect(self.database_url)
        try:
            return [row[0] for row in await connected.fetch(statement)]
        finally:
            await connected.close()

    def tag(self) -> str:
        """The mark that every process of this node carries in its environment."""
        return f"AGENT_MANAGER_INSTALLATION={json.loads((self.data_dir / 'node.json').read_text())['tag']}"

    def processes(self, word: str = "") -> list[psutil.Process]:
        """Every living process that carries this node's mark, and has `word` in its command line."""
        if not (self.data_dir / "node.json").exists():
            return []
        tag = self.tag().encode()
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(OSError, psutil.Error):
                environment = Path(f"/proc/{process.pid}/environ").read_bytes()
                is_ours = tag in environment.split(b"\0") and process.status() != psutil.STATUS_ZOMBIE
                if is_ours and word in " ".join(process.cmdline()):
                    found.append(process)
        return found

    async def get(self, path: str, **params: Any) -> Any:
        """GET below /api/v1; the answer must be a success."""
        answer = await self.http.get(f"{self.state['api_url']}/api/v1{path}", params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, path: str, **params: Any) -> httpx.Response:
        """POST below /api/v1."""
        return await self.http.post(f"{self.state['api_url']}/api/v1{path}", params=params)

    async def agent(self, agent_id: str) -> dict[str, Any]:
        """One agent; empty while there is none, or nobody answers."""
        with contextlib.suppress(httpx.HTTPError, KeyError, FileNotFoundError):
            answer = await self.http.get(f"{self.state['api_url']}/api/v1/agents/{agent_id}")
            if answer.status_code == 200:
                found: dict[str, Any] = answer.json()
                return found
        return {}

    async def instance(self, agent_id: str, ordinal: int = 0) -> dict[str, Any]:
        """One instance; empty while there is none."""
        instances = (await self.agent(agent_id)).get("instances", [])
        return next((i for i in instances if i["id"] == f"{agent_id}_{ordinal}"), {})

    async def until(
        self, agent_id: str, status: str, *, ordinal: int = 0, not_pid: int | None = None
    ) -> dict[str, Any]:
        """Wait until an instance has a status (and another process than `not_pid`); returns it."""

        async def there() -> dict[str, Any]:
            instance = await self.instance(agent_id, ordinal)
            fits = instance.get("status") == status and (not_pid is None or instance["pid"] != not_pid)
            return instance if fits else {}

        try:
            found: dict[str, Any] = await eventually(there, 60.0)
        except TimeoutError:
            raise AssertionError(f"{agent_id} is not {status}: {await self.agent(agent_id)}") from None
        return found

    # ---------------------------------------------------------------- speaking to it over NATS

    @contextlib.asynccontextmanager
    async def bus(self) -> AsyncIterator[Client]:
        """A connection with the credentials that `up.json` names."""
        client = await nats.connect(self.state["nats_url"], user_credentials=self.state["nats_creds"])
        try:
            yield client
        finally:
            await client.close()

    def log(self, service: str) -> list[dict[str, Any]]:
        """The lines of a service's log."""
        folder = self.data_dir / "logs" / "services"
        text = "".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob(f"{service}*")))
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    async def command(self, client: Client, command: str, agent_id: str, **params: Any) -> dict[str, Any]:
        """A command in the envelope of the source documents."""
        body = {
            "command": command,
            "agent_id": agent_id,
            "params": params,
            "timestamp": datetime.now(UTC).isoformat(),
        }
        answer = await client.request("agent.manager.command", json.dumps(body).encode(), timeout=60.0)
        response: dict[str, Any] = json.loads(answer.data)
        return response


@contextlib.asynccontextmanager
async def node_under_test(tmp_path: Path, *shipped: str, database_url: str | None = None) -> AsyncIterator[Node]:
    """A node that is not up yet, with copies of shipped packages; everything of it is ended afterwards.

    Without a database URL it has its own SQLite file.
    """
    packages = tmp_path / "agent_packages"
    packages.mkdir()
    for name in shipped:
        shutil.copytree(SHIPPED / name, packages / name)
    data_dir = tmp_path / "data"
    node = Node(data_dir=data_dir, packages=packages, database_url=database_url)
    try:
        yield node
    finally:
        await node.close()


@contextlib.asynccontextmanager
async def as_manager(node: Node) -> AsyncIterator[Client]:
    """A connection that may look into the stream."""
    credentials = NatsFiles(data_dir=node.data_dir).manager_credentials
    client = await nats.connect(
        node.state["nats_url"], user_credentials=credentials, inbox_prefix=subjects.MANAGER_INBOX_PREFIX.encode()
    )
    try:
        yield client
    finally:
        await client.close()


def kill(pid: int) -> None:
    """SIGKILL."""
    os.kill(pid, signal.SIGKILL)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be reaped does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


async def settle(client: Client) -> None:
    """Return when the server has taken in what was said before: one PING may overtake what is still buffered."""
    await client.flush()
    await client.flush()
