"""Queries: what is known of agents, packages and this node. They change nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from agent_manager.domain.agents import Agent, ManifestFault, Package
from agent_manager.domain.availability import Availability, availability
from agent_manager.domain.errors import NotFoundError
from agent_manager.domain.identifiers import check_agent_id, instance_id, split_instance_id
from agent_manager.domain.instances import Heartbeat, Instance
from agent_manager.domain.planning import by_agent
from agent_manager.ports.clock import Clock
from agent_manager.ports.processes import Logs, LogTail, ProcessInspector, Usage
from agent_manager.ports.store import Store, Transaction
from agent_manager.services.commands import Changed, existing
from agent_manager.services.counters import Counters
from agent_manager.services.store_watch import StoreState
from agent_manager.services.supervisor import Supervisor

MAX_LOG_BYTES = 1_000_000
"""Most bytes of output in one answer, shared evenly by the streams asked for."""
STREAMS_PER_INSTANCE = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentSnapshot:
    """An agent with its instances, this node's as they are now, others as last observed.

    `faults` are those of its package at present; they are looked up for one agent, not for lists.
    """

    agent: Agent
    instances: tuple[Instance, ...]
    availability: Availability
    faults: tuple[ManifestFault, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class InstanceMeasurement:
    """What is measured of an instance, and what it says of itself. `at` is Unix seconds."""

    instance: Instance
    node_id: str
    at: float
    uptime_s: float | None
    heartbeat: Heartbeat | None
    usage: Usage | None
    counters: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeIdentity:
    """Who this node is. `started_at` is Unix seconds."""

    node_id: str
    cluster_id: str
    version: str
    manager_pid: int
    launcher_pid: int
    started_at: float


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeSnapshot:
    """This node and what runs on it; `instances` counts them by status."""

    identity: NodeIdentity
    host: Mapping[str, str | int | float]
    agents: int
    instances: Mapping[str, int]
    store: StoreState


@dataclass(frozen=True, kw_only=True, slots=True)
class Queries:
    """Everything that can be asked."""

    store: Store
    store_state: Callable[[], StoreState]
    supervisor: Supervisor
    counters: Counters
    inspector: ProcessInspector
    logs: Logs
    clock: Clock
    node: NodeIdentity

    async def agent(self, agent_id: str) -> AgentSnapshot:
        """One agent. Raises NotFoundError."""
        check_agent_id(agent_id)

        def unit(transaction: Transaction) -> tuple[Agent, Package | None, Sequence[Instance]]:
            agent = existing(transaction, agent_id)
            # What runs here is known better than the store knows it.
            stored = transaction.instances(agent_id) if agent.node_id != self.node.node_id else ()
            return agent, transaction.package(agent.node_id, agent.package), stored

        agent, package, stored = await self.store.read(unit)
        return replace(self._snapshot(agent, stored), faults=package.faults if package is not None else ())

    async def as_changed(self, changed: Changed) -> AgentSnapshot:
        """The agent of a command, as that has committed it, with what is observed now. Raises NotFoundError."""
        if changed.agent.node_id != self.node.node_id:
            return await self.agent(changed.agent.id)
        return replace(self._snapshot(changed.agent, ()), faults=changed.faults)

    async def agents(self, *, after: str, limit: int) -> Sequence[AgentSnapshot]:
        """At most `limit` agents with ids above `after`, in order of id."""

        def unit(transaction: Transaction) -> tuple[list[Agent], Sequence[Instance]]:
            page = [agent for agent in transaction.agents() if agent.id > after][:limit]
            return page, transaction.instances()

        page, stored = await self.store.read(unit)
        grouped = by_agent(stored)
        return [self._snapshot(agent, grouped.get(agent.id, ())) for agent in page]

    async def packages(self, *, after: str, limit: int) -> Sequence[Package]:
        """At most `limit` packages with names above `after`, in order of name."""
        packages = await self.store.read(lambda transaction: transaction.packages())
        return sorted((p for p in packages if p.name > after), key=lambda p: p.name)[:limit]

    async def measurements(self, agent_id: str) -> Sequence[InstanceMeasurement]:
        """Resource use and counters of an agent's instances on this node. Raises NotFoundError."""
        snapshot = await self.agent(agent_id)
        return await self._measured([(instance, snapshot.agent.node_id) for instance in snapshot.instances])

    async def all_measurements(self, *, after: str, limit: int) -> Sequence[InstanceMeasurement]:
        """The same of at most `limit` instances of any agent with ids above `after`, in order of id."""
        agents, stored = await self.store.read(lambda transaction: (transaction.agents(), transaction.instances()))
        grouped = by_agent(stored)
        present = [(i, agent.node_id) for agent in agents for i in self._present(agent, grouped.get(agent.id, ()))]
        following = sorted((entry for entry in present if entry[0].id > after), key=lambda entry: entry[0].id)
        return await self._measured(following[:limit])

    async def log_tails(self, agent_id: str, *, lines: int, only: str | None) -> Sequence[LogTail]:
        """The latest output of an agent's instances, or of the one named `only`. Raises NotFoundError."""
        ids = await self.instance_ids(agent_id) if only is None else [await self.instance_id(agent_id, only)]
        share = MAX_LOG_BYTES // (STREAMS_PER_INSTANCE * max(len(ids), 1))
        tails: list[LogTail] = []
        for name in ids:
            tails.extend(await self.logs.tail(name, lines=lines, max_bytes=share))
        return tails

    async def instance_ids(self, agent_id: str) -> list[str]:
        """The instances of an agent. Raises NotFoundError."""
        return [instance.id for instance in (await self.agent(agent_id)).instances]

    async def instance_id(self, agent_id: str, named: str) -> str:
        """The instance that is named, if it is one of the agent's. Raises InvalidRequestError, NotFoundError."""
        split_instance_id(named)
        ids = await self.instance_ids(agent_id)
        if named not in ids:
            raise NotFoundError(
                f"agent {agent_id} has no instance {named}; it has {', '.join(ids) or 'none'}",
                detail={"instance_id": named, "instances": ids},
            )
        return named

    def this_node(self) -> NodeSnapshot:
        """This node."""
        instances = self.supervisor.instances.values()
        return NodeSnapshot(
            identity=self.node,
            host=self.inspector.host(),
            agents=len({instance.agent_id for instance in instances}),
            instances=Counter(instance.present_status.value for instance in instances),
            store=self.store_state(),
        )

    def _snapshot(self, agent: Agent, stored: Sequence[Instance]) -> AgentSnapshot:
        instances = self._present(agent, stored)
        loads = [
            self.supervisor.heartbeats[instance.id].load
            for instance in instances
            if instance.id in self.supervisor.heartbeats
        ]
        statuses = [instance.present_status for instance in instances]
        return AgentSnapshot(
            agent=agent, instances=instances, availability=availability(agent.lifecycle, statuses, loads)
        )

    def _present(self, agent: Agent, stored: Sequence[Instance]) -> tuple[Instance, ...]:
        if agent.node_id != self.node.node_id:
            return tuple(stored)
        live = self.supervisor.instances
        names = [instance_id(agent.id, ordinal) for ordinal in range(agent.replicas)]
        extra = sorted(
            (i for i in live.values() if i.agent_id == agent.id and i.id not in names), key=lambda i: i.ordinal
        )
        return (*(live[name] for name in names if name in live), *extra)

    async def _measured(self, instances: Sequence[tuple[Instance, str]]) -> Sequence[InstanceMeasurement]:
        """Each instance with the id of its node; process ids mean something on this node only."""
        here = [instance for instance, node_id in instances if node_id == self.node.node_id]
        usage = await self.inspector.usage([i.launch.pid for i in here if i.launch is not None and i.launch.pid])
        return [
            self._measure(instance, node_id, usage if node_id == self.node.node_id else {})
            for instance, node_id in instances
        ]

    def _measure(self, instance: Instance, node_id: str, usage: Mapping[int, Usage]) -> InstanceMeasurement:
        launch = instance.launch
        started = launch.started_wall if launch is not None else None
        now = self.clock.now().wall
        return InstanceMeasurement(
            instance=instance,
            node_id=node_id,
            at=now,
            uptime_s=max(0.0, now - started) if started is not None else None,
            heartbeat=self.supervisor.heartbeats.get(instance.id),
            usage=usage.get(launch.pid) if launch is not None and launch.pid is not None else None,
            counters=self.counters.of(instance),
        )
