"""Ports in memory: they keep what they are told, and do what a test tells them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar

from agent_manager.domain.agents import ManifestFault
from agent_manager.domain.clock import Now
from agent_manager.domain.errors import AgentManagerError, UnavailableError
from agent_manager.domain.events import Event
from agent_manager.domain.instances import Instance
from agent_manager.domain.specification import AgentSpec
from agent_manager.ports.identities import LaunchName
from agent_manager.ports.launcher import (
    LaunchEmptied,
    LauncherError,
    LauncherEvent,
    LaunchExited,
    Slot,
    SpawnFailedError,
)
from agent_manager.ports.packages import EnvironmentNeed, FoundPackage, PreparationError
from agent_manager.ports.processes import LogPiece, LogTail, Usage
from agent_manager.ports.store import Store, Transaction
from tests.harness.domain import process_exit

T = TypeVar("T")


@asynccontextmanager
async def owned_tasks() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group that is cancelled with the block. A task in it that has failed fails the block.

    A task of its own holds it, since a fixture is begun and ended by different tasks.
    """
    made: asyncio.Future[asyncio.TaskGroup] = asyncio.get_running_loop().create_future()

    async def hold() -> None:
        async with asyncio.TaskGroup() as tasks:
            made.set_result(tasks)
            await asyncio.Event().wait()

    holder = asyncio.create_task(hold(), name="owned tasks")
    try:
        yield await made
    finally:
        holder.cancel()
        with suppress(asyncio.CancelledError):
            await holder


@dataclass
class FakeClock:
    """Stands still until it is moved. `mono` and `wall` differ, so that a mix-up shows."""

    mono: float = 1_000.0
    wall: float = 1_700_000_000.0

    def now(self) -> Now:
        return Now(mono=self.mono, wall=self.wall)

    def advance(self, seconds: float) -> None:
        self.mono += seconds
        self.wall += seconds


@dataclass
class FakeChance:
    """Launch ids `launch1`, `launch2` … and a jitter in the middle."""

    numbers: Any = field(default_factory=lambda: count(1))

    def launch_id(self) -> str:
        return f"launch{next(self.numbers)}"

    def jitter(self) -> float:
        return 0.5


@dataclass
class FakeIdentities:
    """Keeps which launches have credentials. `failure` is raised instead of doing anything."""

    living: set[str] = field(default_factory=set)
    renewed: list[set[str]] = field(default_factory=list)
    failure: OSError | None = None

    def issue(self, launch: LaunchName) -> str:
        self._fail()
        self.living.add(launch.launch_id)
        return f"/credentials/{launch.launch_id}"

    def renew(self, launches: Iterable[LaunchName]) -> None:
        self._fail()
        self.renewed.append({each.launch_id for each in launches})

    def destroy(self, launch_id: str) -> None:
        self._fail()
        self.living.discard(launch_id)

    def keep_only(self, launch_ids: frozenset[str]) -> None:
        self._fail()
        self.living &= launch_ids

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure


@dataclass
class FakeChannel:
    """Every agent answers at once, unless `silent`: then it is asked until the request's time is cancelled."""

    asked: list[tuple[str, str]] = field(default_factory=list)
    silent: bool = False
    refusal: AgentManagerError | None = None

    async def ask(
        self, instance_id: str, command: str, params: Mapping[str, Any], *, timeout_s: float
    ) -> Mapping[str, Any]:
        self.asked.append((instance_id, command))
        if self.silent:
            await asyncio.Event().wait()
        if self.refusal is not None:
            raise self.refusal
        return {}


@dataclass
class RecordingAnnouncer:
    """What observers would have seen."""

    events: list[Event] = field(default_factory=list)
    statuses: list[Instance] = field(default_factory=list)

    def event(self, event: Event) -> None:
        self.events.append(event)

    def status(self, instance: Instance) -> None:
        self.statuses.append(instance)

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.events]


@dataclass
class FakeLauncher:
    """Slots with the launcher's rules: a spawn is a compare-and-set, `empty` follows `exited`, metadata is kept.

    A process ends on every signal but those in `ignored`. `refusals` answer the next spawns, `gate` holds them.
    """

    on_event: Callable[[LaunchExited | LaunchEmptied], None] = lambda event: None
    slots: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, Instance] = field(default_factory=dict)
    updates: list[Instance] = field(default_factory=list)
    signals: list[tuple[str, str]] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    expected: list[str | None] = field(default_factory=list)
    expected_specs: list[AgentSpec] = field(default_factory=list)
    refusals: list[LauncherError] = field(default_factory=list)
    ignored: set[str] = field(default_factory=set)
    running: set[str] = field(default_factory=set)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    is_ready: bool = False

    def __post_init__(self) -> None:
        self.gate.set()

    async def connect(self) -> tuple[Slot, ...]:
        return ()

    async def run(self, on_event: Callable[[LauncherEvent], None]) -> None:
        await asyncio.Event().wait()

    async def spawn(self, instance: Instance, expected_launch_id: str | None, credentials: str) -> tuple[int, float]:
        assert instance.launch is not None
        self.expected.append(expected_launch_id)
        await self.gate.wait()
        present, launch_id = self.slots.get(instance.id), instance.launch.launch_id
        if self.refusals:
            refusal = self.refusals.pop(0)
            if isinstance(refusal, SpawnFailedError):
                self.slots[instance.id] = launch_id
            raise refusal
        if present not in (expected_launch_id, launch_id):
            raise LauncherError(f"slot {instance.id} has launch {present}, expected was {expected_launch_id}")
        self.slots[instance.id] = launch_id
        self.metadata[instance.id] = instance
        self.running.add(instance.id)
        return 100 + len(self.expected), instance.since_wall

    def expect(self, spec: AgentSpec) -> None:
        self.expected_specs.append(spec)

    def update(self, instance: Instance) -> None:
        self.updates.append(instance)
        if instance.held is not None and self.slots.get(instance.id) == instance.held:
            self.metadata[instance.id] = instance

    def signal(self, instance_id: str, launch_id: str, signal: str) -> None:
        self.signals.append((instance_id, signal))
        if signal not in self.ignored and self.slots.get(instance_id) == launch_id:
            number = {"SIGKILL": 9}.get(signal, 15)
            asyncio.get_running_loop().call_soon(lambda: self.end(instance_id, signal=number))

    def acknowledge(self, instance_id: str, launch_id: str) -> None:
        self.acknowledged.append(launch_id)

    def release(self, instance_id: str) -> None:
        self.released.append(instance_id)
        self.slots.pop(instance_id, None)

    def ready(self) -> None:
        self.is_ready = True

    def end(self, instance_id: str, *, code: int | None = 1, signal: int | None = None) -> None:
        """The main process ends, and with it its tree; nothing happens when there is none."""
        if instance_id in self.running:
            launch_id = self.slots[instance_id]
            self.exit(instance_id, code=code, signal=signal)
            self.on_event(LaunchEmptied(instance_id=instance_id, launch_id=launch_id))

    def exit(self, instance_id: str, *, code: int | None = 1, signal: int | None = None) -> None:
        """The main process ends; others of its tree are left."""
        self.running.discard(instance_id)
        exit_ = process_exit(self.slots[instance_id], code=code, signal=signal)
        self.on_event(LaunchExited(instance_id=instance_id, exit=exit_))


class FailingStore:
    """A store that is away while `away`, and counts what it commits."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.away = False
        self.writes = 0
        self.reads = 0
        self.refused = 0

    @property
    def is_shared(self) -> bool:
        return self._store.is_shared

    async def write(self, work: Callable[[Transaction], T]) -> T:
        self._check()
        result = await self._store.write(work)
        self.writes += 1
        return result

    async def read(self, work: Callable[[Transaction], T]) -> T:
        self._check()
        self.reads += 1
        return await self._store.read(work)

    def hold(self, name: str) -> AbstractAsyncContextManager[None]:
        return self._store.hold(name)

    def _check(self) -> None:
        if self.away:
            self.refused += 1
            raise UnavailableError("the store is away")


@dataclass
class FakeSource:
    """Package folders that a test puts there. `away`: they cannot be listed."""

    found: list[FoundPackage] = field(default_factory=list)
    away: bool = False
    changed: asyncio.Queue[None] = field(default_factory=asyncio.Queue)

    async def scan(self) -> tuple[FoundPackage, ...]:
        if self.away:
            raise UnavailableError("the folder cannot be listed")
        return tuple(self.found)

    async def changes(self) -> Any:
        while True:
            await self.changed.get()
            yield

    def look_again(self) -> None:
        self.changed.put_nowait(None)


@dataclass
class FakeEnvironments:
    """Environments that are made when a test says so; `fault` is what making them comes to."""

    made: dict[str, str] = field(default_factory=dict)
    begun: list[str] = field(default_factory=list)
    fault: ManifestFault | None = None
    may_end: asyncio.Event = field(default_factory=asyncio.Event)
    kept: Collection[str] = ()

    def ready(self, need: EnvironmentNeed) -> str | None:
        return self.made.get(need.key)

    async def make(self, need: EnvironmentNeed, package: str) -> None:
        self.begun.append(f"{package} {need.key}")
        await self.may_end.wait()
        if self.fault is not None:
            raise PreparationError(self.fault)
        self.made[need.key] = f"/environments/{need.key}"

    async def keep_only(self, used: Collection[str]) -> None:
        self.kept = used


class FakeInspector:
    """One process each, of a fixed size."""

    async def usage(self, pids: Sequence[int]) -> Mapping[int, Usage]:
        return {pid: Usage(processes=1, rss_bytes=1_000, cpu_s=0.5, threads=2, open_files=3) for pid in pids}

    def host(self) -> Mapping[str, str | int | float]:
        return {"hostname": "here", "cpus": 2}


@dataclass
class RecordingLogChannel:
    """What followers would have been sent. `away`: the bus is."""

    pieces: list[tuple[str, str, LogPiece]] = field(default_factory=list)
    away: bool = False

    async def lines(self, instance_id: str, stream: str, piece: LogPiece) -> bool:
        if not self.away:
            self.pieces.append((instance_id, stream, piece))
        return not self.away

    def said(self, instance_id: str, stream: str) -> list[str]:
        """The lines of one stream."""
        return [
            line for name, which, piece in self.pieces if (name, which) == (instance_id, stream) for line in piece.lines
        ]


class FakeLogs:
    """Each stream's last line is its name."""

    def stem(self, instance_id: str) -> str:
        return f"/logs/{instance_id}"

    async def tail(self, instance_id: str, *, lines: int, max_bytes: int) -> Sequence[LogTail]:
        return [
            LogTail(instance_id=instance_id, stream=stream, path=f"{stream}.log", lines=(stream,), end_offset=lines)
            for stream in ("out", "err")
        ]

    async def piece(
        self, instance_id: str, stream: str, *, start: int, max_bytes: int, unfinished: bool = False
    ) -> LogPiece:
        return LogPiece(start=start, end=start)

    async def last(self, instance_id: str, stream: str, *, lines: int, max_bytes: int) -> LogPiece:
        return LogPiece(start=0, end=len(stream), lines=(stream,))
