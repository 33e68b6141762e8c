"""What is measured of a contender, each a figure or a few."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from tests.benchmarks.supervision.contenders import Contender, Ours, WarmFork
from tests.benchmarks.supervision.observer import Beats, ProcessTable, listening, looking
from tests.benchmarks.supervision.population import Program, agents, executables, living_agents, name_of, sdk_agents

SETTLE_S = 5.0
IDLE_S = 20.0
KILLS = 30
PAUSE_BETWEEN_KILLS_S = 0.1
CROWD_TIMEOUT_S = 300.0
CROWD_SETTLE_S = 30.0
CROWD_IDLE_TIMES = 5
CROWD_SAMPLE = 50
CROWD_LOOK_INTERVAL_S = 1.0
AFTER_DAEMON_S = 25.0
"""How long a daemon that was killed and started again has for coming to terms with what it finds."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run of one contender has shown. Times in seconds, memory in MB, CPU as a share of one core."""

    all_up_s: float
    respawn_p50_ms: float
    respawn_p95_ms: float
    respawn_max_ms: float
    memory_mb: float | None = None
    idle_cpu: float | None = None
    daemon_rss_mb: float | None = None
    survivors: int | None = None
    orphans: int | None = None
    duplicates: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Without what was not measured."""
        return {key: value for key, value in asdict(self).items() if value is not None}


async def measure_agents(make: Callable[[Path], Contender], count: int, nats_url: str) -> Outcome:
    """Python agents that send beats."""
    async with listening(nats_url) as beats, _running(make, agents(count, nats_url=nats_url), beats) as (it, all_up_s):
        memory_mb = statistics.mean(_pss_mb(pid) for pid in beats.pids.values())
        idle_cpu, rss_mb = await _idle(it)
        respawns = await _respawns(beats)
        survivors, orphans, duplicates = await _after_daemon(it, beats)
    return Outcome(
        all_up_s=all_up_s,
        **_spread(respawns),
        memory_mb=memory_mb,
        idle_cpu=idle_cpu,
        daemon_rss_mb=rss_mb,
        survivors=survivors,
        orphans=orphans,
        duplicates=duplicates,
    )


async def measure_executables(make: Callable[[Path], Contender], count: int) -> Outcome:
    """Programs that do nothing."""
    async with looking() as table, _running(make, executables(count), table) as (_, all_up_s):
        respawns = await _respawns(table)
    return Outcome(all_up_s=all_up_s, **_spread(respawns))


@dataclass(frozen=True, slots=True)
class Crowd:
    """What very many agents have shown: plain ones under this project and as bare forks, then ones of the SDK.

    `bare_s`, `all_up_s` and `sdk_all_up_s` are the seconds until all were up, the last looked at once a second;
    everything else is of the SDK's, which the daemon hears every five seconds.
    """

    bare_s: float
    all_up_s: float
    sdk_all_up_s: float
    failed_starts: int
    idle_cpu: float
    daemon_rss_mb: float
    memory_mb: float


async def measure_crowd(count: int, nats_url: str) -> Crowd:
    """This project alone: all are started at once."""
    plain = agents(count, nats_url=nats_url)
    all_up_s: dict[str, float] = {}
    # Twice the bare forks: a virtual machine is given its memory when it is used first, which takes as long again.
    for make in (WarmFork, WarmFork, Ours):
        async with listening(nats_url) as beats, _running(make, plain, beats) as (_, all_up_s[make.name]):
            _tell(f"{make.name}: {count} plain agents up in {all_up_s[make.name]:.1f} s")
    with TemporaryDirectory() as directory:
        ours = Ours(Path(directory))
        try:
            sdk_all_up_s = await _crowd_of_the_sdk(ours, count)
            await asyncio.sleep(CROWD_SETTLE_S)
            idle_cpu, rss_mb = await _idle(ours, times=CROWD_IDLE_TIMES)
            sample = random.sample(sorted(p.pid for p in ours.node.processes("sdk_agent.py")), CROWD_SAMPLE)
            return Crowd(
                bare_s=all_up_s[WarmFork.name],
                all_up_s=all_up_s[Ours.name],
                sdk_all_up_s=sdk_all_up_s,
                failed_starts=await ours.restarts(),
                idle_cpu=idle_cpu,
                daemon_rss_mb=rss_mb,
                memory_mb=statistics.mean(_pss_mb(pid) for pid in sample),
            )
        finally:
            await ours.close()


async def _crowd_of_the_sdk(ours: Ours, count: int) -> float:
    """Start them; the seconds until all were running."""
    await ours.prepare(sdk_agents(count))
    _tell(f"{count} packages of SDK agents are registered")
    before = time.perf_counter()
    running = 0
    async with asyncio.timeout(CROWD_TIMEOUT_S), asyncio.TaskGroup() as tasks:
        tasks.create_task(ours.start())
        while running < count:
            # To ask is work for the node under test.
            await asyncio.sleep(CROWD_LOOK_INTERVAL_S)
            running = await ours.running()
            _tell(f"{time.perf_counter() - before:.1f} s: {running} running")
    return time.perf_counter() - before


def _tell(how_far: str) -> None:
    print(how_far, file=sys.stderr)


@asynccontextmanager
async def _running(
    make: Callable[[Path], Contender], programs: Sequence[Program], seen: Beats | ProcessTable
) -> AsyncIterator[tuple[Contender, float]]:
    """All programs under a contender, and the seconds until they were; nothing of it is left afterwards."""
    with TemporaryDirectory() as directory:
        contender = make(Path(directory))
        try:
            await contender.prepare(programs)
            before = time.perf_counter()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(contender.start())
                last = await seen.all_of(len(programs))
            await asyncio.sleep(SETTLE_S)
            yield contender, last - before
        finally:
            await contender.close()
            # What a supervisor has left behind; a number that was seen may be somebody else's by now.
            for pid in living_agents() | {pid for pid, name in seen.names.items() if name_of(pid) == name}:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _pss_mb(pid: int) -> float:
    memory = psutil.Process(pid).memory_full_info()
    return float(memory.pss) / 1e6


async def _idle(contender: Contender, *, times: int = 1) -> tuple[float, float]:
    """CPU, the median of so many times, and memory of the process that supervises."""
    daemon = next(iter(contender.daemons.values()))
    found = []
    for _ in range(times):
        before = _cpu_s(daemon)
        await asyncio.sleep(IDLE_S)
        found.append((_cpu_s(daemon) - before) / IDLE_S)
    return statistics.median(found), daemon.memory_info().rss / 1e6


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def _respawns(seen: Beats | ProcessTable) -> list[float]:
    """From the SIGKILL of a process to the sign of life of the next, in milliseconds."""
    found = []
    for name in random.sample(sorted(seen.pids), min(KILLS, len(seen.pids))):
        old = seen.pids[name]
        killed_at = time.perf_counter()
        os.kill(old, signal.SIGKILL)
        found.append((await seen.next_pid(name, old) - killed_at) * 1000)
        await asyncio.sleep(PAUSE_BETWEEN_KILLS_S)
    return found


def _spread(times_ms: list[float]) -> dict[str, Any]:
    ordered = sorted(times_ms)
    return {
        "respawn_p50_ms": statistics.median(ordered),
        "respawn_p95_ms": ordered[int(len(ordered) * 0.95)],
        "respawn_max_ms": ordered[-1],
    }


async def _after_daemon(contender: Contender, beats: Beats) -> tuple[int, int, int]:
    """SIGKILL the daemon and bring it back: who has survived under its care, who without, and who is there twice."""
    before = dict(beats.pids)
    await contender.kill_and_bring_back()
    await asyncio.sleep(AFTER_DAEMON_S)
    alive = living_agents()
    cared_for = {child.pid for process in contender.daemons.values() for child in process.children(recursive=True)}
    old = set(before.values()) & alive
    names = [beats.names.get(pid, str(pid)) for pid in alive]
    return len(old & cared_for), len(alive - cared_for), len(names) - len(set(names))
