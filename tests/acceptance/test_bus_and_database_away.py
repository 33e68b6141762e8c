"""The bus, or bus and database together, are away: while a node runs, starts, is taken over and stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGQUIT

import httpx
import nats
import pytest

from tests.harness.agents import QUICK_HEARTBEAT, SLEEPS, plain_python, sdk_agent
from tests.harness.event_observer import stored_events
from tests.harness.external_nats import ExternalNats, external_nats
from tests.harness.node import Node, alive, kill, node_under_test
from tests.harness.postgres import PostgresServer, own_server
from tests.harness.waiting import eventually


@dataclass(frozen=True)
class Backing:
    """What a node in production leans on: a NATS server, and a database where that is to go away too."""

    bus: ExternalNats
    database: PostgresServer | None

    async def goes(self) -> None:
        """All of it dies."""
        await self.bus.kill()
        if self.database is not None:
            await asyncio.to_thread(self.database.stop, SIGQUIT)

    async def comes(self) -> None:
        """All of it is there again, the database first."""
        if self.database is not None:
            await asyncio.to_thread(self.database.start)
        await self.bus.start()


@contextmanager
def _database(wanted: bool) -> Iterator[PostgresServer | None]:
    if wanted:
        with own_server() as server:
            yield server
    else:
        yield None


@pytest.fixture(params=["bus", "bus and database"])
async def backing(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backing]:
    configuration = {
        "jetstream": {"store_dir": str(tmp_path / "jetstream")},
        "max_payload": 8 * 1024 * 1024,
        "authorization": {"user": "manager", "password": "pw"},
    }
    with _database(request.param == "bus and database") as database:
        async with external_nats(tmp_path, configuration) as bus:
            yield Backing(bus, database)


@pytest.fixture
async def node(tmp_path: Path, backing: Backing) -> AsyncIterator[Node]:
    """A node with an agent that beats and one that does not; the test brings it up."""
    url = backing.database.url() if backing.database is not None else None
    async with node_under_test(tmp_path, database_url=url) as node:
        node.environment = {
            "AGENT_MANAGER_NATS_URL": backing.bus.url,
            "AGENT_MANAGER_NATS_USER": "manager",
            "AGENT_MANAGER_NATS_PASSWORD": "pw",
        }
        sdk_agent(node.packages, "steady", extra=QUICK_HEARTBEAT)
        plain_python(node.packages, "plain", SLEEPS)
        yield node


async def _replaced(node: Node, old: int) -> int:
    """The process that has taken the place of the plain agent's `old`."""
    (pid,) = await eventually(lambda: {process.pid for process in node.processes("/plain")} - {old}, 60.0)
    return int(pid)


async def _whole(node: Node) -> None:
    """Wait until commands are taken again, and every part of the node says that it is well."""

    async def well() -> bool:
        try:
            answer = await node.http.get(f"{node.state['api_url']}/health")
        except (httpx.HTTPError, FileNotFoundError):
            return False
        return answer.status_code == 200 and bool(answer.json()["status"] == "ok")

    await eventually(well, 60.0)


async def _published(backing: Backing, kind: str) -> list[str]:
    """The instances of which the public stream has an event of this kind."""
    client = await nats.connect(backing.bus.url, user="manager", password="pw")
    try:
        return [str(event.body["instance_id"]) for event in await stored_events(client) if event.body["type"] == kind]
    finally:
        await client.close()


async def _exits(node: Node) -> int:
    return len(await node.query("SELECT launch_id FROM exits"))


async def _exited_once(node: Node, backing: Backing) -> None:
    """The one crash is in the database and on the public stream, each once."""

    async def told() -> bool:
        return await _exits(node) == 1 and bool(await _published(backing, "exited"))

    await eventually(told, 60.0)
    assert await _published(backing, "exited") == ["plain_0"]


async def test_while_it_runs_a_crash_is_mended_nobody_is_declared_inactive_and_all_is_told_afterwards(
    node: Node, backing: Backing
) -> None:
    await node.up()
    steady, plain = await node.until("steady", "running"), await node.until("plain", "running")
    await backing.goes()
    kill(plain["pid"])
    pid = await _replaced(node, plain["pid"])
    refused = await node.post("/agents/plain/restart")
    assert (refused.status_code, refused.json()["retryable"]) == (503, True)
    await backing.comes()
    await _whole(node)
    assert (await node.until("plain", "running"))["pid"] == pid
    assert (await node.until("steady", "running"))["pid"] == steady["pid"]
    await _exited_once(node, backing)
    assert (await node.post("/agents/plain/restart", wait=30)).status_code == 200
    inactive = await node.query("SELECT count(*) FROM events WHERE type = 'inactive'")
    assert inactive == [0]


async def test_a_manager_that_starts_meanwhile_adopts_and_supervises(node: Node, backing: Backing) -> None:
    await node.up()
    steady, plain = await node.until("steady", "running"), await node.until("plain", "running")
    await backing.goes()
    manager = node.pid("manager")
    kill(manager)
    await node.replaced("manager", manager)
    kill(plain["pid"])
    pid = await _replaced(node, plain["pid"])
    await backing.comes()
    await _whole(node)
    assert (await node.until("plain", "running"))["pid"] == pid
    assert (await node.until("steady", "running"))["pid"] == steady["pid"]
    await _exited_once(node, backing)


async def test_a_node_that_starts_meanwhile_comes_to_full_service(node: Node, backing: Backing) -> None:
    await node.up()
    await node.until("plain", "running")
    assert await node.stop() == 0
    await backing.goes()
    await node.up()
    await backing.comes()
    await _whole(node)
    await node.until("steady", "running")
    await node.until("plain", "running")


async def test_a_node_can_be_stopped_meanwhile_and_leaves_nothing(node: Node, backing: Backing) -> None:
    await node.up()
    steady, plain = await node.until("steady", "running"), await node.until("plain", "running")
    await backing.goes()
    assert await node.stop() == 0
    assert not alive(steady["pid"])
    assert not alive(plain["pid"])
    assert node.processes() == []
    await backing.comes()
    await node.up()
    await _whole(node)
    await node.until("steady", "running")


async def test_what_goes_and_comes_five_times_loses_and_doubles_no_exit(node: Node, backing: Backing) -> None:
    await node.up()
    await node.until("steady", "running")
    pid = (await node.until("plain", "running"))["pid"]
    for number in range(5):
        await backing.goes()
        kill(pid)
        pid = await _replaced(node, pid)
        await backing.comes()

        async def told(expected: int = number + 1) -> bool:
            return await _exits(node) == expected and len(await _published(backing, "exited")) == expected

        await eventually(told, 60.0)
    assert len(await _published(backing, "exited")) == 5
