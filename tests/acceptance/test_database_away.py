"""PostgreSQL dies, stands still, fills up and comes back under a running node."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from signal import SIGQUIT
from typing import Any

import asyncpg
import httpx
import pytest

from tests.harness.agents import SLEEPS, plain_python
from tests.harness.node import Node, alive, kill, node_under_test
from tests.harness.postgres import PostgresServer, own_server
from tests.harness.waiting import eventually

FILL = """
CREATE FUNCTION fill() RETURNS trigger AS $$
BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END
$$ LANGUAGE plpgsql;
CREATE TRIGGER fill BEFORE INSERT OR UPDATE ON agents EXECUTE FUNCTION fill();
CREATE TRIGGER fill BEFORE INSERT ON exits EXECUTE FUNCTION fill();
CREATE TRIGGER fill BEFORE INSERT ON events EXECUTE FUNCTION fill();
"""


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with own_server() as server:
        yield server


@pytest.fixture
async def node(tmp_path: Path, server: PostgresServer) -> AsyncIterator[Node]:
    """A node on `server`, with one agent; the test brings it up."""
    async with node_under_test(tmp_path, database_url=server.url()) as node:
        plain_python(node.packages, "plain", SLEEPS)
        try:
            yield node
        finally:
            server.go_on()


async def _execute(server: PostgresServer, statement: str) -> None:
    connection = await asyncpg.connect(server.url())
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@dataclass(frozen=True)
class Outage:
    """How the database goes away, and how it comes back."""

    name: str
    begin: Callable[[PostgresServer], Any]
    end: Callable[[PostgresServer], Any]


OUTAGES = [
    Outage("dead", lambda server: asyncio.to_thread(server.stop, SIGQUIT), lambda s: asyncio.to_thread(s.start)),
    Outage("stands still", lambda s: asyncio.to_thread(s.hang), lambda s: asyncio.to_thread(s.go_on)),
    Outage("full", lambda s: _execute(s, FILL), lambda s: _execute(s, "DROP FUNCTION fill CASCADE")),
]
EVERY_OUTAGE = pytest.mark.parametrize("outage", OUTAGES, ids=lambda outage: outage.name)


async def _health(node: Node) -> str:
    with contextlib.suppress(httpx.HTTPError, FileNotFoundError):
        answer = await node.http.get(f"{node.state['api_url']}/health")
        if answer.status_code == 200:
            return str(answer.json()["status"])
    return ""


async def _until_health(node: Node, status: str) -> None:
    async def there() -> bool:
        return await _health(node) == status

    await eventually(there, 60.0)


async def _replaced(node: Node, old: int) -> int:
    """The process that has taken the place of the agent's `old`."""
    found = await eventually(lambda: {process.pid for process in node.processes("agent.py")} - {old}, 30.0)
    (pid,) = found
    return int(pid)


async def _exits(node: Node) -> list[Any]:
    return await node.query("SELECT launch_id FROM exits")


async def _refused(node: Node) -> None:
    """Commands are refused by the manager, with a reason: nobody waits until the API gives up on it."""
    answers = await asyncio.gather(*(node.post("/agents/plain/restart") for _ in range(5)))
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(503, "unavailable")}
    assert all(answer.json()["retryable"] for answer in answers)
    assert all("127.0.0.1" in answer.json()["detail"] for answer in answers)
    assert "s3cret" not in "".join(answer.text for answer in answers)


@EVERY_OUTAGE
async def test_a_crash_is_mended_meanwhile_commands_are_refused_and_the_exit_is_written_once(
    node: Node, server: PostgresServer, outage: Outage
) -> None:
    await node.up()
    before = await node.until("plain", "running")
    await outage.begin(server)
    kill(before["pid"])
    pid = await _replaced(node, before["pid"])
    await _refused(node)
    await _until_health(node, "degraded")
    await outage.end(server)
    await _until_health(node, "ok")
    instance = await node.until("plain", "running")
    assert (instance["pid"], instance["restarts"]) == (pid, 1)

    async def written(count: int) -> bool:
        return len(await _exits(node)) == count

    await eventually(lambda: written(1), 30.0)
    assert await node.query("SELECT count(*) FROM events WHERE type = 'exited'") == [1]
    assert (await node.post("/agents/plain/restart", wait=30)).status_code == 200
    await eventually(lambda: written(2), 30.0)


@EVERY_OUTAGE
async def test_a_manager_that_starts_meanwhile_adopts_supervises_and_comes_to_full_service(
    node: Node, server: PostgresServer, outage: Outage
) -> None:
    await node.up()
    before = await node.until("plain", "running")
    await outage.begin(server)
    old = node.pid("manager")
    kill(old)
    await node.replaced("manager", old)
    if outage.name != "full":
        # A full database can be read, and so opened.
        await _until_health(node, "degraded")
    assert alive(before["pid"])
    kill(before["pid"])
    pid = await _replaced(node, before["pid"])
    await outage.end(server)
    await _until_health(node, "ok")
    assert (await node.until("plain", "running"))["pid"] == pid

    async def written() -> bool:
        return len(await _exits(node)) == 1

    await eventually(written, 30.0)


async def test_a_node_that_starts_meanwhile_says_so_and_runs_its_agents_when_the_database_is_there(
    node: Node, server: PostgresServer
) -> None:
    await node.up()
    await node.until("plain", "running")
    await node.stop()
    server.stop()
    await node.up()
    assert "starting without it; commands are refused until it is there" in node.console()
    await _until_health(node, "degraded")
    assert "s3cret" not in node.console()
    server.start()
    await _until_health(node, "ok")
    await node.until("plain", "running")


@EVERY_OUTAGE
async def test_a_node_can_be_stopped_meanwhile(node: Node, server: PostgresServer, outage: Outage) -> None:
    await node.up()
    before = await node.until("plain", "running")
    await outage.begin(server)
    assert await node.stop() == 0
    assert not alive(before["pid"])
    assert node.processes() == []
    await outage.end(server)


async def test_a_database_that_goes_and_comes_ten_times_loses_and_doubles_no_exit(
    node: Node, server: PostgresServer
) -> None:
    await node.up()
    pid = (await node.until("plain", "running"))["pid"]
    for number in range(10):
        server.stop(SIGQUIT)
        kill(pid)
        # Ten crashes within a minute are as many as the policy allows.
        pid = await _replaced(node, pid) if number < 9 else pid
        server.start()

        async def written(expected: int = number + 1) -> bool:
            return len(await _exits(node)) == expected

        await eventually(written, 60.0)
    assert await node.query("SELECT count(*) FROM events WHERE type = 'exited'") == [10]
