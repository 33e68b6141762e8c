"""What an idle node costs: CPU and memory of the manager with many agents that do nothing.

    python -m tests.benchmarks.idle --agents 100 --seconds 60

Half of the agents are copies of the shipped `echo` (an SDK agent with heartbeats), half of `clock` (a shell script).
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import tempfile
from pathlib import Path

import psutil

from tests.harness.node import SHIPPED, Node, node_under_test
from tests.harness.waiting import eventually

SETTLE_S = 15.0
"""After the last agent has come up: what its start has stirred up is over by then."""
START_TIMEOUT_S = 300.0


def main() -> None:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60.0)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_measured(Path(directory), agents=wanted.agents, seconds=wanted.seconds))


async def _measured(directory: Path, *, agents: int, seconds: float) -> None:
    async with node_under_test(directory) as node:
        for number in range(agents):
            shipped = ("echo", "clock")[number % 2]
            shutil.copytree(SHIPPED / shipped, node.packages / f"{shipped}-{number}")
        await node.up()

        async def all_run() -> bool:
            (this,) = (await node.get("/nodes"))["items"]
            return bool(this["instances"].get("running") == agents)

        await eventually(all_run, START_TIMEOUT_S)
        await asyncio.sleep(SETTLE_S)
        await _report(node, agents, seconds)


async def _report(node: Node, agents: int, seconds: float) -> None:
    services = {name: psutil.Process(node.pid(name)) for name in ("manager", "api", "launcher", "nats")}
    before = {name: _cpu_s(process) for name, process in services.items()}
    await asyncio.sleep(seconds)
    print(f"{agents} idle agents, {seconds:g} s")
    for name, process in services.items():
        share = (_cpu_s(process) - before[name]) / seconds
        memory = process.memory_full_info()
        print(f"  {name:<9} {share:7.2%} of a core   RSS {memory.rss / 1e6:6.1f} MB   PSS {memory.pss / 1e6:6.1f} MB")


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


if __name__ == "__main__":
    main()
