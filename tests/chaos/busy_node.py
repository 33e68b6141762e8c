"""A node on which everything goes on at once, and the account of it that must balance in the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.harness.node import Node, node_under_test, write_package
from tests.harness.waiting import eventually

REST_TIMEOUT_S = 120.0

_CRASHING = """
import os, random, sys, time

def note(what):
    with open({ledger!r}, "a") as ledger:
        ledger.write(f"{{os.environ['AGENT_LAUNCH_ID']}} {{what}}\\n")

note("began")
time.sleep(random.uniform(0.05, 0.5))
code = random.randint(1, 60)
note(code)
sys.exit(code)
"""
_RESTARTED = "{max_restarts: 1000, backoff_initial_s: 0.05, backoff_max_s: 0.3}"
_CRASHING_MANIFEST = f"version: '1'\nentrypoint: agent.py\nheartbeat: none\nrestart: {_RESTARTED}\nreplicas: 2\n"
_STEADY = """
from agent_manager.sdk import Agent

Agent().run()
"""
_FAMILY = "version: '1'\ncommand: [sh, -c, 'sleep 100000 & setsid sleep 100000 & wait']\nheartbeat: none\n"


class BusyNode:
    """Agents that stay, crash, are started and stopped; one whose number changes, one that is not always executable."""

    def __init__(self, node: Node, directory: Path, chance: random.Random) -> None:
        self.node = node
        self._ledger = directory / "ledger"
        self._program = directory / "program"
        self._chance = chance
        self.stirring: asyncio.Task[None]
        self.toggled = ("toggled-0", "toggled-1", "family", "fickle")
        self.steady = ("steady-0", "steady-1", "scaled")
        self.crashing = ("crashing-0", "crashing-1")

    def make(self) -> None:
        """Put all packages there."""
        self._program.write_text("#!/bin/sh\nexec sleep 100000\n")
        self._program.chmod(0o755)
        manifests = {"family": _FAMILY, "fickle": f"version: '1'\ncommand: [{self._program}]\nheartbeat: none\n"}
        for name in self.crashing:
            write_package(self.node.packages, name, _CRASHING_MANIFEST, _CRASHING.format(ledger=str(self._ledger)))
        for name in (*self.steady, *self.toggled):
            manifest = manifests.get(name, "version: '1'\nentrypoint: agent.py\n")
            write_package(self.node.packages, name, manifest, _STEADY)

    async def stir(self) -> None:
        """Start, stop, restart and scale, for ever, also what cannot be executed; what is refused is refused."""
        while True:
            with contextlib.suppress(httpx.HTTPError, KeyError, FileNotFoundError, json.JSONDecodeError):
                what = self._chance.random()
                if what < 0.1:
                    self._scale(self._chance.randint(1, 4))
                elif what < 0.2:
                    self._program.chmod(self._chance.choice((0o644, 0o755)))
                else:
                    command = self._chance.choice(("start", "stop", "restart"))
                    await self.node.post(f"/agents/{self._chance.choice(self.toggled)}/{command}", wait=0)
            await asyncio.sleep(self._chance.uniform(0.0, 0.1))

    def _scale(self, replicas: int) -> None:
        manifest = self.node.packages / "scaled" / "agent.yaml"
        fresh = manifest.with_suffix(".new")
        fresh.write_text(f"version: '1'\nentrypoint: agent.py\nreplicas: {replicas}\n")
        fresh.replace(manifest)

    async def come_to_rest(self) -> None:
        """Stir no more, say definitely what is wanted, and wait until it is so."""
        self.stirring.cancel()
        await asyncio.wait([self.stirring])
        self._scale(3)
        self._program.chmod(0o755)
        for name in self.toggled:
            await self._definitely(name, "start")
        for name in self.crashing:
            await self._definitely(name, "stop")
        await eventually(self._is_as_wanted, REST_TIMEOUT_S)

    async def _definitely(self, name: str, command: str) -> None:
        async def accepted() -> bool:
            with contextlib.suppress(httpx.HTTPError, KeyError, FileNotFoundError):
                return (await self.node.post(f"/agents/{name}/{command}", wait=0)).status_code in (200, 202)
            return False

        await eventually(accepted, REST_TIMEOUT_S)

    async def _is_as_wanted(self) -> bool:
        for name in (*self.steady, *self.toggled):
            instances = (await self.node.agent(name)).get("instances", [])
            if len(instances) != (3 if name == "scaled" else 1):
                return False
            if any(instance["status"] != "running" for instance in instances):
                return False
        for name in self.crashing:
            instances = (await self.node.agent(name)).get("instances", [])
            if [instance["status"] for instance in instances] != ["stopped", "stopped"]:
                return False
        return True

    async def check(self) -> None:
        """`check_processes`, and every end is on record, once."""
        await self.check_processes()
        await self._check_exits()

    async def check_processes(self) -> None:
        """Every instance is where it belongs, once, and nothing else of any agent lives."""
        wanted = {
            instance["pid"]
            for name in (*self.steady, *self.toggled)
            for instance in (await self.node.agent(name))["instances"]
        }
        services = {pid for pid in self.node.state["pids"].values() if pid}
        family = next(i["pid"] for i in (await self.node.agent("family"))["instances"])
        relatives = {child.pid for child in psutil.Process(family).children(recursive=True)}
        assert len(relatives) == 2
        others = {p.pid: " ".join(p.cmdline()) for p in self.node.processes() if p.pid not in wanted | services}
        unknown = {
            pid: words
            for pid, words in others.items()
            if pid not in relatives and not any(part in words for part in ("log_pump", "zygote.py", "cli.console"))
        }
        assert unknown == {}
        assert wanted <= set(psutil.pids())

    async def _check_exits(self) -> None:
        began: Counter[str] = Counter()
        codes: dict[str, int] = {}
        for line in self._ledger.read_text().splitlines():
            launch_id, _, what = line.partition(" ")
            if what == "began":
                began[launch_id] += 1
            else:
                codes[launch_id] = int(what)

        async def recorded() -> dict[str, Any]:
            rows = await self.node.query("SELECT launch_id || ' ' || data FROM exits WHERE agent_id LIKE 'crashing-%'")
            pairs = (row.partition(" ") for row in rows)
            return {launch_id: json.loads(data) for launch_id, _, data in pairs}

        async def complete() -> bool:
            return (await recorded()).keys() >= began.keys()

        await eventually(complete, 30.0)
        exits = await recorded()
        assert set(began.values()) == {1}, "a launch was started twice"
        wrong = {
            launch_id: (code, exits[launch_id])
            for launch_id, code in codes.items()
            # One that was stopped while it ended may have been killed before its code counted.
            if exits[launch_id].get("code") not in (code, None)
        }
        assert wrong == {}
        told = await self.node.query(
            "SELECT json_extract(data, '$.launch_id') FROM events WHERE type = 'exited' AND agent_id LIKE 'crashing-%'"
        )
        assert [launch_id for launch_id, times in Counter(told).items() if times != 1] == []
        assert set(told) >= began.keys()


@asynccontextmanager
async def busy_node(directory: Path, chance: random.Random) -> AsyncIterator[BusyNode]:
    """Up and stirred."""
    async with node_under_test(directory) as node:
        busy = BusyNode(node, directory, chance)
        busy.make()
        await node.up()
        await eventually(lambda: (directory / "ledger").exists(), 60.0)
        busy.stirring = asyncio.create_task(busy.stir())
        try:
            yield busy
        finally:
            busy.stirring.cancel()
            await asyncio.wait([busy.stirring])
