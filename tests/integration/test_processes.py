"""Resource use of real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from agent_manager.adapters.processes import PsutilProcessInspector
from agent_manager.ports.processes import Usage
from tests.harness.waiting import eventually

PARENT_OF_TWO = """
import subprocess, sys
child = [sys.executable, "-c", "import sys; sys.stdin.read()"]
children = [subprocess.Popen(child, stdin=subprocess.PIPE) for _ in range(2)]
sys.stdin.read()
for process in children:
    process.communicate()
"""


@contextmanager
def running(program: str) -> Iterator[subprocess.Popen[bytes]]:
    """A Python program that ends when its standard input does."""
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.communicate()


async def usage_of(pid: int) -> Usage | None:
    return (await PsutilProcessInspector().usage([pid])).get(pid)


async def test_a_tree_is_summed_over_its_processes() -> None:
    with running(PARENT_OF_TWO) as parent, running("import sys; sys.stdin.read()") as single:

        async def three() -> Usage | None:
            usage = await usage_of(parent.pid)
            return usage if usage is not None and usage.processes == 3 else None

        tree = await eventually(three)
        both = await PsutilProcessInspector().usage([parent.pid, single.pid])
    assert set(both) == {parent.pid, single.pid}
    assert both[single.pid].processes == 1
    assert tree.threads >= 3
    assert tree.open_files >= 9
    assert tree.rss_bytes > both[single.pid].rss_bytes > 1_000_000


async def test_cpu_time_does_not_fall_when_a_child_ends() -> None:
    burn = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'sum(range(5_000_000))']); sys.stdin.read()"
    with running(burn) as process:

        async def child_counted() -> bool:
            usage = await usage_of(process.pid)
            return usage is not None and usage.processes == 1 and usage.cpu_s > 0.05

        await eventually(child_counted)


async def test_processes_that_are_gone_or_wait_to_be_reaped_are_left_out() -> None:
    with running("") as process:
        pid = process.pid

        async def left_out() -> bool:
            return await usage_of(pid) is None

        await eventually(left_out)
        inspector = PsutilProcessInspector()
        assert set(await inspector.usage([pid, os.getpid()])) == {os.getpid()}
    assert await usage_of(pid) is None
    assert await PsutilProcessInspector().usage([]) == {}


async def test_processes_that_come_and_go_are_no_obstacle_to_the_usage_of_others() -> None:
    for _ in range(20):
        with running("") as process:
            usage = await PsutilProcessInspector().usage([process.pid, os.getpid(), 2**22])
            assert set(usage) - {process.pid} == {os.getpid()}


def test_the_host_is_described() -> None:
    host = PsutilProcessInspector().host()
    assert set(host) == {"hostname", "cpus", "memory_bytes", "platform", "python"}
    assert host["cpus"] == os.cpu_count()
    assert isinstance(host["memory_bytes"], int)
    assert all(host.values())
