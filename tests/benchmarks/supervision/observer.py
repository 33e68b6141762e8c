"""Who lives, and since when: told by beats for agents, by the process table for programs that say nothing."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import nats
from nats.aio.msg import Msg

from tests.benchmarks.supervision.population import name_of

TIMEOUT_S = 60.0
_LOOK_INTERVAL_S = 0.0005
_UNTOLD_S = 2.0


class Observer(Protocol):
    """Knows of every program the process it was last seen as."""

    pids: dict[str, int]

    async def next_pid(self, name: str, old: int) -> float:
        """Wait until a program is seen as another process; the moment (`time.perf_counter`)."""
        ...


class _Seen:
    def __init__(self) -> None:
        self.pids: dict[str, int] = {}
        self.names: dict[int, str] = {}
        self._at: dict[int, float] = {}
        self._changed = asyncio.Event()

    def _see(self, name: str, pid: int) -> None:
        if pid not in self.names:
            self.names[pid] = name
            self._at[pid] = time.perf_counter()
            self.pids[name] = pid
            self._changed.set()

    async def next_pid(self, name: str, old: int) -> float:
        """See `Observer`."""
        async with asyncio.timeout(TIMEOUT_S):
            while self.pids[name] == old:
                self._changed.clear()
                await self._changed.wait()
        return self._at[self.pids[name]]

    async def all_of(self, count: int) -> float:
        """Wait until so many programs have been seen; the moment the last one was."""
        async with asyncio.timeout(TIMEOUT_S):
            while len(self.pids) < count:
                self._changed.clear()
                await self._changed.wait()
        return max(self._at[pid] for pid in self.pids.values())


class Beats(_Seen):
    """Listens to the beats of agents."""

    async def hear(self, message: Msg) -> None:
        """A beat."""
        self._see(message.subject.removeprefix("beat."), int(message.data))


class ProcessTable(_Seen):
    """Looks at the process table, twice a millisecond."""

    def __init__(self) -> None:
        super().__init__()
        self._known = {int(entry) for entry in os.listdir("/proc") if entry.isdigit()}
        self._untold: dict[int, float] = {}

    async def look(self) -> None:
        """Look until cancelled."""
        while True:
            self._look()
            await asyncio.sleep(_LOOK_INTERVAL_S)

    def _look(self) -> None:
        now = time.perf_counter()
        fresh = {int(entry) for entry in os.listdir("/proc") if entry.isdigit()} - self._known
        self._known |= fresh
        self._untold |= dict.fromkeys(fresh, now)
        for pid, since in list(self._untold.items()):
            # Until its program is executed a process has the environment of its parent.
            name = name_of(pid)
            if name is not None:
                self._see(name, pid)
            if name is not None or now - since > _UNTOLD_S:
                del self._untold[pid]


@asynccontextmanager
async def listening(nats_url: str) -> AsyncIterator[Beats]:
    """Hears all beats of agents at this server."""
    beats = Beats()
    client = await nats.connect(nats_url)
    try:
        await client.subscribe("beat.*", cb=beats.hear)
        await client.flush()
        yield beats
    finally:
        await client.close()


@asynccontextmanager
async def looking() -> AsyncIterator[ProcessTable]:
    """Looks at the process table meanwhile."""
    table = ProcessTable()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(table.look())
        yield table
        task.cancel()
