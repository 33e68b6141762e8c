"""Agents that do what they should not, beside one that notices nothing of it; and nothing of them is left."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from tests.harness.node import Node, node_under_test, write_package
from tests.harness.waiting import eventually

QUICK_STOP = "stop: {timeout_s: 0.5, drain_timeout_s: 0.5}\n"
SILENT = f"version: '1'\nentrypoint: agent.py\nheartbeat: none\n{QUICK_STOP}"
STORM = 500

FORK_STORM = f"""
import os, time
for _ in range({STORM}):
    if os.fork() == 0:
        os.setsid()
        time.sleep(100000)
open("stormed", "w").close()
time.sleep(100000)
"""
MEMORY_HOG = """
hoard = []
while True:
    hoard.append(bytearray(10_000_000))
"""
DAEMON = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 1024)
        os.environ.clear()
        time.sleep(100000)
    os._exit(0)
time.sleep(0.2)
"""
DEAF = """
import os, signal, time
for number in signal.valid_signals():
    try:
        signal.signal(number, signal.SIG_IGN)
    except OSError:
        pass
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
os.closerange(0, 1024)
if os.fork() == 0:
    os.setpgid(0, 0)
    if os.fork() == 0:
        os.setsid()
time.sleep(100000)
"""
FLOOD = """
import os
while True:
    os.write(1, b"x" * 65536)
"""


@asynccontextmanager
async def beside_a_neighbour(tmp_path: Path) -> AsyncIterator[Node]:
    """A node with a good agent, which must be the same one in the end, without an end in between."""
    async with node_under_test(tmp_path, "echo") as node:
        await node.up()
        before = await node.until("echo", "running")
        yield node
        after = await node.until("echo", "running")
        assert (after["pid"], after["restarts"]) == (before["pid"], 0)


async def test_a_storm_of_forks_is_swept_away(tmp_path: Path) -> None:
    async with beside_a_neighbour(tmp_path) as node:
        folder = write_package(node.packages, "storm", SILENT + "ignore: [stormed]\n", FORK_STORM)
        await eventually(lambda: (folder / "stormed").exists(), 60.0)
        assert len(node.processes("storm/agent.py")) == STORM + 1
        answer = await node.post("/agents/storm/stop", wait=60)
        assert answer.status_code == 200, answer.text
        assert node.processes("storm/agent.py") == []


async def test_a_crash_in_a_storm_of_forks_sweeps_before_the_restart(tmp_path: Path) -> None:
    async with beside_a_neighbour(tmp_path) as node:
        folder = write_package(node.packages, "storm", SILENT + "ignore: [stormed]\n", FORK_STORM)
        await eventually(lambda: (folder / "stormed").exists(), 60.0)
        before = {process.pid for process in node.processes("storm/agent.py")}
        (folder / "stormed").unlink()
        main = (await node.until("storm", "running"))["pid"]
        psutil.Process(main).kill()
        await node.until("storm", "running", not_pid=main)
        await eventually(lambda: (folder / "stormed").exists(), 60.0)
        after = {process.pid for process in node.processes("storm/agent.py")}
        assert len(after) == STORM + 1
        assert not before & after


async def test_a_memory_hog_runs_into_its_limit_and_nobody_else_does(tmp_path: Path) -> None:
    async with beside_a_neighbour(tmp_path) as node:
        manifest = SILENT + "limits: {memory_mb: 300}\nrestart: {max_restarts: 2}\n"
        write_package(node.packages, "hog", manifest, MEMORY_HOG)
        instance = await node.until("hog", "error")
        assert 100_000_000 < instance["last_exit"]["max_rss_bytes"] < 400_000_000
        assert "given up" in instance["reason"]


async def test_what_daemonizes_does_not_get_away(tmp_path: Path) -> None:
    async with beside_a_neighbour(tmp_path) as node:
        write_package(node.packages, "daemon", SILENT + "restart: {policy: never}\n", DAEMON)
        await node.until("daemon", "stopped")
        assert node.processes("daemon/agent.py") == []


async def test_who_hears_no_signal_and_has_closed_everything_is_stopped(tmp_path: Path) -> None:
    async with beside_a_neighbour(tmp_path) as node:
        write_package(node.packages, "deaf", SILENT, DEAF)
        await node.until("deaf", "running")
        await eventually(lambda: len(node.processes("deaf/agent.py")) == 3, 60.0)
        answer = await node.post("/agents/deaf/stop", wait=60)
        assert answer.status_code == 200, answer.text
        assert node.processes("deaf/agent.py") == []


async def test_a_flood_of_output_delays_nobody(tmp_path: Path) -> None:
    async with beside_a_neighbour(tmp_path) as node:
        write_package(node.packages, "flood", SILENT + "logs: {max_bytes: 1000000, files: 2}\n", FLOOD)
        await node.until("flood", "running")
        log = node.data_dir / "logs" / "agents" / "flood_0.out.log"
        await eventually(lambda: log.with_name(f"{log.name}.1").exists(), 60.0)
        write_package(node.packages, "newcomer", SILENT, "import time; time.sleep(100000)")
        await node.until("newcomer", "running")
        assert sum(_size(path) for path in log.parent.glob("flood_0.out.log*")) <= 2_000_000
        assert (await node.post("/agents/flood/stop", wait=60)).status_code == 200


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a megabyte, in memory."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts file systems")
    place = tmp_path / "data" / "logs" / "agents"
    place.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


CHATTERING = """
import time
for number in range(100_000_000):
    print(f"{number:0100}", flush=True)
    time.sleep(0.0005)
"""


async def test_agents_go_on_when_the_disk_under_their_logs_is_full(tmp_path: Path, small_disk: Path) -> None:
    filler = small_disk / "filler"
    async with node_under_test(tmp_path) as node:
        write_package(node.packages, "chattering", SILENT, CHATTERING)
        await node.up()
        instance = await node.until("chattering", "running")
        log = small_disk / "chattering_0.out.log"
        await eventually(lambda: log.exists() and log.stat().st_size > 0)
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        full = log.stat().st_size

        async def goes_on_without_being_written() -> bool:
            used = psutil.Process(instance["pid"]).cpu_times()
            await asyncio.sleep(0.5)  # what it does in this time is the question
            return psutil.Process(instance["pid"]).cpu_times() > used

        assert await eventually(goes_on_without_being_written)
        assert log.stat().st_size <= full + 4096
        filler.unlink()
        await eventually(lambda: "bytes of output lost: No space left on device]" in log.read_text(), 30.0)
        text = log.read_text()
        lost = int(text.split("[log pump: ")[1].split()[0])
        assert lost > 0
        after = await node.until("chattering", "running")
        assert (after["pid"], after["restarts"]) == (instance["pid"], 0)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0  # it is rotated away at this moment
