"""This project, supervisord and PM2 with the same agents, side by side.

    python -m tests.benchmarks.supervision --runs 3

The supervising process is supervisord, PM2's daemon, and our manager: what decides. That our processes are children of
a launcher that is not killed is the point of it; when that is killed, all end and come back. Peers are installed into
`build/benchmarks/peers`; one that cannot be is left out, and said so. Every figure is the median of the runs, in each
of which the contenders take turns on the same machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.benchmarks.supervision.contenders import (
    PEERS,
    Contender,
    NotInstalledError,
    Ours,
    Pm2,
    Supervisord,
    WarmFork,
)
from tests.benchmarks.supervision.measurements import (
    Crowd,
    Outcome,
    measure_agents,
    measure_crowd,
    measure_executables,
)
from tests.benchmarks.supervision.report import (
    AGENT_TARGETS,
    EXECUTABLE_TARGETS,
    Target,
    crowd_verdicts,
    medians,
    table,
    verdicts,
)
from tests.harness.external_nats import external_nats

RESULTS = PEERS.parent / "supervision.json"

_Make = Callable[[Path], Contender]


def main() -> None:
    """Measure, print the tables, write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=100)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", nargs="*", help="contenders to measure", metavar="NAME")
    parser.add_argument("--kind", choices=("agents", "executables", "crowd"), nargs="*", default=[])
    parser.add_argument("--crowd", type=int, default=1_000, help="agents of the run without peers")
    wanted = parser.parse_args()
    makers = {name: make for name, make in _contenders().items() if not wanted.only or name in wanted.only}
    results: dict[str, dict[str, Any]] = {}
    kinds = wanted.kind or ["agents", "executables", "crowd"]
    if "agents" in kinds:
        results["agents"] = asyncio.run(_agents(makers, wanted.agents, wanted.runs))
        _print(f"{wanted.agents} Python agents that connect to NATS", results["agents"], AGENT_TARGETS)
    if "executables" in kinds:
        without = {name: make for name, make in makers.items() if name != WarmFork.name}
        results["executables"] = asyncio.run(_executables(without, wanted.agents, wanted.runs))
        _print(f"{wanted.agents} programs that do nothing (`sleep`)", results["executables"], EXECUTABLE_TARGETS)
    figures = {kind: {name: outcome.to_json() for name, outcome in each.items()} for kind, each in results.items()}
    if "crowd" in kinds:
        crowd = asyncio.run(_crowd(wanted.crowd))
        figures["crowd"] = asdict(crowd)
        print(f"\n{wanted.crowd} agents, all started at once\n")
        print(
            f"all up in {crowd.all_up_s:.1f} s (bare forks {crowd.bare_s:.1f} s); "
            f"of the SDK in {crowd.sdk_all_up_s:.1f} s, "
            f"{crowd.memory_mb:.1f} MB each; then the daemon takes {crowd.idle_cpu:.2%} of a core, "
            f"{crowd.daemon_rss_mb:.0f} MB\n"
        )
        print("\n".join(crowd_verdicts(crowd)) + "\n")
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(figures, indent=2))
    print(f"Figures: {RESULTS}")


def _contenders() -> dict[str, _Make]:
    makers: dict[str, _Make] = {Ours.name: Ours, WarmFork.name: WarmFork}
    for peer in (Supervisord, Pm2):
        try:
            peer.install()
            makers[peer.name] = peer
        except NotInstalledError as error:
            print(f"{peer.name} is left out: it cannot be installed here: {error}", file=sys.stderr)
    return makers


async def _agents(makers: Mapping[str, _Make], count: int, runs: int) -> dict[str, Outcome]:
    with TemporaryDirectory() as directory:
        async with external_nats(Path(directory), {}) as server:
            return await _all(makers, partial(measure_agents, count=count, nats_url=server.url), runs)


async def _crowd(count: int) -> Crowd:
    with TemporaryDirectory() as directory:
        async with external_nats(Path(directory), {}) as server:
            return await measure_crowd(count, server.url)


async def _executables(makers: Mapping[str, _Make], count: int, runs: int) -> dict[str, Outcome]:
    return await _all(makers, partial(measure_executables, count=count), runs)


async def _all(
    makers: Mapping[str, _Make], measure: Callable[[_Make], Awaitable[Outcome]], runs: int
) -> dict[str, Outcome]:
    outcomes: dict[str, list[Outcome]] = {name: [] for name in makers}
    for run in range(runs):
        for name, make in makers.items():
            print(f"run {run + 1} of {runs}: {name} ...", file=sys.stderr)
            outcomes[name].append(await measure(make))
    return {name: medians(found) for name, found in outcomes.items()}


def _print(title: str, outcomes: Mapping[str, Outcome], targets: Sequence[Target]) -> None:
    print(f"\n{table(title, outcomes)}\n")
    if Ours.name in outcomes:
        print("\n".join(verdicts(targets, outcomes[Ours.name], outcomes)) + "\n")


if __name__ == "__main__":
    main()
