"""Whatever is killed, whenever: no orphan, no duplicate, no end lost or told twice, everything where it belongs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from pathlib import Path

import psutil
import pytest

from tests.chaos.busy_node import BusyNode, busy_node
from tests.chaos.conftest import rounds
from tests.harness.node import Node
from tests.harness.waiting import eventually

pytestmark = pytest.mark.timeout(3_600)


async def _moment(chance: random.Random, longest_s: float) -> None:
    """A random moment of what goes on: chance, not a wait for something."""
    await asyncio.sleep(chance.uniform(0.0, longest_s))


def _kill(pid: int, number: int = signal.SIGKILL) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _pids(node: Node, *names: str) -> list[int]:
    """The processes of parts of a node: services by name, `zygote` and `pump` by their command lines."""
    words = {"zygote": "zygote.py", "pump": "launcher.log_pump"}
    found: list[int] = []
    for name in names:
        if name in words:
            found += [process.pid for process in node.processes(words[name])]
        elif pid := node.pid(name):
            found.append(pid)
    return found


async def test_a_manager_that_is_killed_a_hundred_times(tmp_path: Path, chance: random.Random) -> None:
    async with busy_node(tmp_path, chance) as busy:
        steady = await _steady(busy)
        for _ in range(rounds(100)):
            before = busy.node.pid("manager")
            _kill(before)
            await busy.node.replaced("manager", before)
            await _moment(chance, 1.5)
        await busy.come_to_rest()
        assert await _steady(busy) == steady
        await busy.check()


async def _steady(busy: BusyNode) -> dict[str, int]:
    """The agents that nobody touches."""
    found = {}
    for name in busy.steady[:2]:
        found[name] = (await busy.node.until(name, "running"))["pid"]
    return found


async def test_pump_zygote_manager_and_server_are_killed_or_stopped_alone_and_together(
    tmp_path: Path, chance: random.Random
) -> None:
    async with busy_node(tmp_path, chance) as busy:
        steady = await _steady(busy)
        for _ in range(rounds(30)):
            victims = chance.sample(["pump", "zygote", "manager", "nats", "api"], chance.randint(1, 4))
            for pid in _pids(busy.node, *victims):
                _kill(pid)
            if "zygote" not in victims and chance.random() < 0.2:
                # Not dead, but of no use: what waits for it is executed in the end.
                for pid in _pids(busy.node, "zygote"):
                    _kill(pid, signal.SIGSTOP)
            await _moment(chance, 2.0)
        await busy.come_to_rest()
        assert await _steady(busy) == steady
        await busy.check()


async def test_a_launcher_that_is_killed_takes_all_with_it_and_all_comes_back(
    tmp_path: Path, chance: random.Random
) -> None:
    async with busy_node(tmp_path, chance) as busy:
        for _ in range(rounds(10)):
            launcher = busy.node.pid("launcher")
            # Sometimes whoever would clean up after it dies with it.
            for pid in _pids(busy.node, *chance.choice([["pump"], ["manager"], []])):
                _kill(pid)
            _kill(launcher)
            assert busy.node.process is not None
            await busy.node.process.wait()
            await busy.node.up()
            await _moment(chance, 2.0)
        await busy.come_to_rest()
        # How those ended that died with it, nobody was there to see.
        await busy.check_processes()


async def test_a_hundred_reloads_while_everything_goes_on(tmp_path: Path, chance: random.Random) -> None:
    async with busy_node(tmp_path, chance) as busy:
        steady = await _steady(busy)
        launcher = psutil.Process(busy.node.pid("launcher"))
        for number in range(1, rounds(100) + 1):
            launcher.send_signal(signal.SIGUSR2)
            await eventually(lambda: busy.node.state["reloads"] >= number, 60.0)  # noqa: B023 - awaited at once
            await _moment(chance, 0.3)
        await busy.come_to_rest()
        assert launcher.is_running()
        assert await _steady(busy) == steady
        await busy.check()
