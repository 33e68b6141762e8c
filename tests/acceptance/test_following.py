"""Output and events of a whole node, followed while its parts are killed: nothing lost, nothing repeated."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.harness.agents import plain_python, sdk_agent
from tests.harness.event_observer import Stored, stored_events
from tests.harness.node import Node, as_manager, kill
from tests.harness.waiting import eventually

COUNTER = (
    "import itertools, time\n"
    "for number in itertools.count():\n"
    "    print('line', number, flush=True)\n"
    "    time.sleep(0.002)\n"
)
SMALL_FILES = "logs:\n  max_bytes: 20000\n  files: 100\n"


@asynccontextmanager
async def agentctl(node: Node, *arguments: str) -> AsyncIterator[Process]:
    """The client, for as long as the block lasts."""
    command = (sys.executable, "-P", "-m", "agent_manager.cli.agentctl", "--data-dir", str(node.data_dir), *arguments)
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            # Not wait(): with a pipe that is full nobody hears of the end.
            await process.communicate()


async def printed(process: Process, count: int) -> list[str]:
    """The next lines on its standard output."""
    assert process.stdout is not None
    lines = []
    for _ in range(count):
        async with asyncio.timeout(30):
            lines.append((await process.stdout.readline()).decode().removesuffix("\n"))
    return lines


async def kill_each(node: Node) -> AsyncIterator[str]:
    """Kill manager, API and NATS server, one after the other, and wait until each is replaced."""
    for part in ("manager", "api", "nats", "manager"):
        old = node.pid(part)
        kill(old)
        await node.replaced(part, old)
        yield part


async def test_output_is_followed_over_rotations_and_the_death_of_every_part(node: Node) -> None:
    plain_python(node.packages, "counter", COUNTER, extra=SMALL_FILES)
    await node.up()
    await node.until("counter", "running")
    async with agentctl(node, "logs", "-f", "-n", "10000", "counter") as process:
        got = await printed(process, 500)
        async for _ in kill_each(node):
            got += await printed(process, 1_500)
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(30):
            await process.communicate()
    assert process.returncode == 130
    assert got == [f"line {number}" for number in range(len(got))]


async def test_events_are_followed_over_the_death_of_every_part_each_once(node: Node) -> None:
    sdk_agent(node.packages, "steady")
    await node.up()
    await node.until("steady", "running")
    async with agentctl(node, "events", "--json") as process, asyncio.TaskGroup() as group:
        heard: list[int] = []

        async def listen() -> None:
            while True:
                (line,) = await printed(process, 1)
                heard.append(json.loads(line)["sequence"])

        listening = group.create_task(listen())

        async def heard_a_restart() -> bool:
            assert (await node.post("/agents/steady/restart", wait=60)).status_code in (200, 202)
            return bool(heard)

        await eventually(heard_a_restart, 60)
        async for _ in kill_each(node):
            killed = (await node.until("steady", "running"))["pid"]
            kill(killed)
            await node.until("steady", "running", not_pid=killed)
        async with as_manager(node) as client:

            async def everything() -> list[Stored]:
                stored = await stored_events(client)
                return stored if heard[-1] == stored[-1].sequence else []

            stored = await eventually(everything, 60)
        listening.cancel()
    assert heard == list(range(heard[0], heard[-1] + 1))
    assert [message.sequence for message in stored] == list(range(1, stored[-1].sequence + 1))
    assert [message.body["sequence"] for message in stored] == [message.sequence for message in stored]


async def test_what_was_committed_without_a_bus_is_published_by_the_next_node(node: Node) -> None:
    sdk_agent(node.packages, "steady")
    await node.up()
    await node.until("steady", "running")
    await node.stop()
    await node.up()
    await node.until("steady", "running")
    async with as_manager(node) as client:

        async def complete() -> bool:
            types = [message.body["type"] for message in await stored_events(client)]
            return types[:3] == ["registered", "starting", "running"] and types.count("running") == 2

        await eventually(complete, 30)
        stored = await stored_events(client)
    assert [message.sequence for message in stored] == list(range(1, len(stored) + 1))
    assert "stopped" in [message.body["type"] for message in stored]
