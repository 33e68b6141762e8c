"""Launcher, nats-server and API die."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
from datetime import datetime

import psutil
import pytest

from tests.harness.agents import QUICK_HEARTBEAT, SLEEPS, plain_python, sdk_agent
from tests.harness.node import Node, alive, kill, settle
from tests.harness.waiting import eventually

WITH_A_DETACHED_CHILD = (
    "import subprocess, threading\n"
    "subprocess.Popen(['sleep', '1000'], start_new_session=True)\n"
    "print('up', flush=True)\n"
    "threading.Event().wait()\n"
)


async def test_a_killed_launcher_leaves_nothing_and_everything_comes_back_after_a_restart(node: Node) -> None:
    sdk_agent(node.packages, "steady")
    plain_python(node.packages, "parent", WITH_A_DETACHED_CHILD)
    await node.up()
    steady = await node.until("steady", "running")
    await node.until("parent", "running")
    await eventually((node.data_dir / "logs/agents/parent_0.out.log").exists)
    await eventually(lambda: len(node.processes("sleep 1000")) == 1)
    assert node.process is not None
    kill(node.process.pid)
    await node.process.wait()
    await eventually(lambda: node.processes() == [])
    # A process on its way out has no environment any more, and so no mark, a moment before it has ended.
    await eventually(lambda: not alive(steady["pid"]))

    await node.up()
    assert (await node.until("steady", "running"))["pid"] != steady["pid"]
    await node.until("parent", "running")


async def test_a_killed_nats_server_comes_back_and_nobody_is_declared_inactive(node: Node) -> None:
    for number in range(5):
        sdk_agent(node.packages, f"steady-{number}", extra=QUICK_HEARTBEAT)
    await node.up()
    before = [(await node.until(f"steady-{number}", "running"))["pid"] for number in range(5)]
    for _ in range(3):
        old = node.pid("nats")
        kill(old)
        await node.replaced("nats", old)

        async def heard_again() -> bool:
            with contextlib.suppress(Exception):
                found = [await node.instance(f"steady-{number}") for number in range(5)]
                restarted_at = psutil.Process(node.pid("nats")).create_time()
                return all(_unix(instance["last_heartbeat"]) > restarted_at for instance in found)
            return False

        await eventually(heard_again, 60.0)
    after = [await node.until(f"steady-{number}", "running") for number in range(5)]
    assert [instance["pid"] for instance in after] == before
    assert [instance["restarts"] for instance in after] == [0] * 5
    assert "inactive" not in node.console()


def _unix(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


async def test_a_crash_is_mended_while_the_bus_is_down(node: Node) -> None:
    plain_python(node.packages, "plain", SLEEPS)
    await node.up()
    before = await node.until("plain", "running")
    os.kill(node.pid("nats"), signal.SIGSTOP)
    kill(before["pid"])
    await eventually(lambda: {process.pid for process in node.processes("agent.py")} - {before["pid"]})
    os.kill(node.pid("nats"), signal.SIGCONT)
    assert (await node.until("plain", "running", not_pid=before["pid"]))["restarts"] == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_crash_is_mended_while_the_database_is_locked_and_written_afterwards(node: Node) -> None:
    plain_python(node.packages, "plain", SLEEPS)
    await node.up()
    before = await node.until("plain", "running")
    with contextlib.closing(sqlite3.connect(node.data_dir / "agent-manager.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        kill(before["pid"])
        again = await node.until("plain", "running", not_pid=before["pid"])
        refusals = await asyncio.gather(*(node.post("/agents/plain/restart") for _ in range(5)))
        assert {(answer.status_code, answer.json()["code"]) for answer in refusals} == {(503, "unavailable")}
        assert other.execute("SELECT count(*) FROM exits").fetchone() == (0,)
        other.execute("ROLLBACK")
        await eventually(lambda: other.execute("SELECT count(*) FROM exits").fetchone() == (1,))
    assert again["restarts"] == 1


@pytest.mark.parametrize("name", ["api", "nats", "manager"])
async def test_a_killed_service_is_replaced_and_the_state_file_follows(node: Node, name: str) -> None:
    await node.up()
    old = node.pid(name)
    kill(old)
    await node.replaced(name, old)

    async def works() -> bool:
        with contextlib.suppress(Exception):
            return (await node.http.get(f"{node.state['api_url']}/readyz")).status_code == 200
        return False

    await eventually(works, 60.0)


async def test_an_exit_is_on_the_feed_and_in_the_store_with_its_facts(node: Node) -> None:
    plain_python(node.packages, "plain", SLEEPS)
    await node.up()
    before = await node.until("plain", "running")
    async with node.bus() as bus:
        feed = await bus.subscribe("agent.event.plain.exited")
        await settle(bus)
        os.kill(before["pid"], signal.SIGABRT)
        event = json.loads((await feed.next_msg(timeout=30.0)).data)
    assert event["type"] == "exited"
    assert event["instance_id"] == "plain_0"
    assert event["data"]["signal"] == signal.SIGABRT
    assert event["data"]["reason"] == "crash"
    assert event["sequence"] > 0
