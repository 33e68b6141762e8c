"""The services of a manager on fakes: the real state machine, a real store in memory, a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from agent_manager.adapters.sql.sqlite import SqliteStore
from agent_manager.domain.agents import Agent
from agent_manager.domain.instances import Heartbeat, Instance, Target
from agent_manager.domain.planning import Aim
from agent_manager.domain.restart_budget import BudgetPolicy
from agent_manager.ports.store import Transaction
from agent_manager.services.commands import Commands
from agent_manager.services.counters import Counters
from agent_manager.services.eyesight import SETTLE_S, Eyesight
from agent_manager.services.journal import Journal
from agent_manager.services.log_following import LogFollowing
from agent_manager.services.preparation import Preparation
from agent_manager.services.queries import NodeIdentity, Queries
from agent_manager.services.reconciler import Reconciler
from agent_manager.services.start_gate import StartGate
from agent_manager.services.store_watch import StoreState
from agent_manager.services.supervisor import Supervisor
from tests.harness.domain import SPEC
from tests.harness.fakes import (
    FailingStore,
    FakeChance,
    FakeChannel,
    FakeClock,
    FakeEnvironments,
    FakeIdentities,
    FakeInspector,
    FakeLauncher,
    FakeLogs,
    FakeSource,
    RecordingAnnouncer,
    RecordingLogChannel,
    owned_tasks,
)
from tests.harness.waiting import eventually

NODE = "node-1"


@dataclass
class Bench:
    """Everything a test may want to touch."""

    store: FailingStore
    tasks: asyncio.TaskGroup
    clock: FakeClock = field(default_factory=FakeClock)
    launcher: FakeLauncher = field(default_factory=FakeLauncher)
    identities: FakeIdentities = field(default_factory=FakeIdentities)
    channel: FakeChannel = field(default_factory=FakeChannel)
    announcer: RecordingAnnouncer = field(default_factory=RecordingAnnouncer)
    starts_at_once: int = 16
    budget: BudgetPolicy = field(default_factory=BudgetPolicy)

    def __post_init__(self) -> None:
        self.eyesight = Eyesight(self.clock)
        self.journal = Journal(store=self.store, launcher=self.launcher, announcer=self.announcer, node_id=NODE)
        self.supervisor = Supervisor(
            launcher=self.launcher,
            identities=self.identities,
            channel=self.channel,
            journal=self.journal,
            eyesight=self.eyesight,
            clock=self.clock,
            chance=FakeChance(),
            tasks=self.tasks,
            gate=StartGate(self.starts_at_once),
            budget=self.budget,
        )
        self.launcher.on_event = self.supervisor.launcher_event
        self.eyesight.on_change(self.supervisor.sight_changed)
        self.reconciler = Reconciler(
            store=self.store, supervisor=self.supervisor, node_id=NODE, interval_s=lambda: 3600.0
        )
        self.source = FakeSource()
        self.environments = FakeEnvironments()
        self.preparation = Preparation(environments=self.environments, source=self.source, tasks=self.tasks)
        self.commands = Commands(
            store=self.store,
            announcer=self.announcer,
            reconciler=self.reconciler,
            supervisor=self.supervisor,
            clock=self.clock,
            node_id=NODE,
            preparation=self.preparation,
        )
        self.counters = Counters(self.supervisor)
        self.following = LogFollowing(logs=FakeLogs(), channel=RecordingLogChannel(), clock=self.clock)
        self.queries = Queries(
            store=self.store,
            store_state=lambda: StoreState(reason=None, since=self.clock.wall),
            supervisor=self.supervisor,
            counters=self.counters,
            inspector=FakeInspector(),
            logs=FakeLogs(),
            clock=self.clock,
            node=NodeIdentity(
                node_id=NODE, cluster_id="c", version="1", manager_pid=1, launcher_pid=2, started_at=self.clock.wall
            ),
        )

    async def save(self, *agents: Agent) -> None:
        """Put agents into the store."""

        def unit(transaction: Transaction) -> None:
            for agent in agents:
                transaction.save_agent(agent)

        await self.store.write(unit)

    def follow_desired_state(self) -> None:
        """Let journal and reconciler run."""
        self.tasks.create_task(self.journal.run())
        self.tasks.create_task(self.reconciler.run())

    def aim(self, *, run: bool = True, agent_id: str = "echo", ordinal: int = 0, **target: Any) -> None:
        """What a reconciler would say."""
        wanted = replace(Target(run=run, spec=SPEC), **target)
        self.supervisor.aim(Aim(agent_id=agent_id, ordinal=ordinal, epoch=1, target=wanted))

    def instance(self, name: str = "echo_0") -> Instance:
        """One instance as it is now."""
        return self.supervisor.instances[name]

    def status(self, name: str = "echo_0") -> str:
        """Its status; empty where there is no such instance."""
        found = self.supervisor.instances.get(name)
        return found.status.value if found is not None else ""

    def heartbeat(self, name: str = "echo_0", *, load: float = 0.0, status: str = "running") -> None:
        """The present launch of an instance speaks."""
        launch = self.instance(name).launch
        assert launch is not None
        self.supervisor.heartbeat(name, launch.launch_id, Heartbeat(number=1, load=load, status=status))

    async def until(self, status: str, name: str = "echo_0") -> Instance:
        """Wait for a status."""
        await eventually(lambda: self.status(name) == status)
        return self.instance(name)

    async def started(self, name: str = "echo_0") -> Instance:
        """Wait until the launcher has started the instance's present launch."""

        def has_process() -> bool:
            instance = self.supervisor.instances.get(name)
            return instance is not None and instance.launch is not None and instance.launch.pid is not None

        await eventually(has_process)
        return self.instance(name)

    async def running(self, name: str = "echo_0", **aim: Any) -> Instance:
        """Bring an instance up."""
        agent_id, _, ordinal = name.rpartition("_")
        self.aim(agent_id=agent_id, ordinal=int(ordinal), **aim)
        await self.started(name)
        self.heartbeat(name)
        return self.instance(name)

    def see(self) -> None:
        """The bus is there, and has been for long enough."""
        self.eyesight.opened()
        self.wait(SETTLE_S)

    def wait(self, seconds: float) -> None:
        """Time passes, while this process keeps running; what is due then fires when the loop is next idle."""
        while seconds > 0:
            self.clock.advance(min(seconds, 1.0))
            self.eyesight.check_pulse()
            seconds -= 1.0
        self.supervisor.sight_changed()


@asynccontextmanager
async def bench(**changes: Any) -> AsyncIterator[Bench]:
    """A bench whose tasks end with the block; one that has failed fails it. `changes` are its other fields."""
    async with SqliteStore("sqlite://") as store, owned_tasks() as tasks:
        yield Bench(store=FailingStore(store), tasks=tasks, **changes)
