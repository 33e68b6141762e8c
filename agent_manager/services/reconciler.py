"""The reconciler: one loop that makes what runs on this node what is desired of it.

It keeps the desired state in memory, so that it goes on with what it last knew while the store is away.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import Callable, Mapping

from agent_manager.domain.agents import Agent
from agent_manager.domain.errors import AgentManagerError
from agent_manager.domain.identifiers import agent_id_of
from agent_manager.domain.instances import Instance
from agent_manager.domain.planning import Aim, plan
from agent_manager.ports.store import Store
from agent_manager.services.supervisor import Supervisor
from agent_manager.services.trouble import Trouble

RETRY_S = 1.0
"""Pause after a read that failed."""

log = logging.getLogger(__name__)


class Reconciler:
    """Plans again for each agent that has changed: its instances, or what is desired of it.

    What is desired is read after every nudge, and every `interval_s()` seconds in case one was lost.
    """

    def __init__(self, *, store: Store, supervisor: Supervisor, node_id: str, interval_s: Callable[[], float]) -> None:
        self._store = store
        self._supervisor = supervisor
        self._node_id = node_id
        self._interval_s = interval_s
        self._agents: dict[str, Agent] | None = None
        self._changed: set[str] = set()
        self._look_again = asyncio.Event()
        self._read_at = 0.0
        self._asked_in: dict[str, contextvars.Context] = {}
        self._answering: dict[str, contextvars.Context] = {}
        self._trouble = Trouble(log, begins="desired_state_unreadable", ends="desired_state_readable")
        supervisor.on_change(self._instance_changed)

    @property
    def agents(self) -> Mapping[str, Agent]:
        """The agents of this node as last read."""
        return self._agents or {}

    @property
    def knows(self) -> bool:
        """Whether desired state has been read at all: until then nothing is known to be unused."""
        return self._agents is not None

    @property
    def instances(self) -> Mapping[str, Instance]:
        """Every instance of this node by its id."""
        return self._supervisor.instances

    def nudge(self, agent_id: str | None = None) -> None:
        """Desired state has changed: read it again, soon.

        What follows for `agent_id` is done in the caller's context, so that log lines and requests tell who asked.
        """
        if agent_id is not None:
            self._asked_in[agent_id] = contextvars.copy_context()
        self._read_at = 0.0
        self._look_again.set()

    def _instance_changed(self, instance_id: str) -> None:
        self._changed.add(agent_id_of(instance_id))
        self._look_again.set()

    async def run(self) -> None:
        """Reconcile, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            self._look_again.clear()
            if loop.time() >= self._read_at:
                await self._read(loop.time())
            self._carry_out()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._read_at):
                    await self._look_again.wait()

    async def _read(self, now: float) -> None:
        """Read what is desired. However much goes on here, it is read again within the interval."""
        self._read_at = now + self._interval_s()
        asked_in, self._asked_in = self._asked_in, {}
        try:
            agents = await self._store.read(lambda transaction: transaction.agents())
        except AgentManagerError as error:
            self._read_at = min(self._read_at, now + RETRY_S)
            self._asked_in = {**asked_in, **self._asked_in}
            self._trouble.met(error.message)
        else:
            self._trouble.over()
            self._answering = asked_in
            self._know({agent.id: agent for agent in agents if agent.node_id == self._node_id})

    def _know(self, agents: dict[str, Agent]) -> None:
        if self._agents is None:
            self._changed |= agents.keys() | {instance.agent_id for instance in self._supervisor.instances.values()}
        else:
            known = self._agents
            self._changed |= {each for each in agents.keys() | known.keys() if agents.get(each) != known.get(each)}
        self._agents = agents

    def _carry_out(self) -> None:
        if self._agents is None:
            # Nothing is known to be desired, which is not the same as: nothing is desired.
            return
        answering, self._answering = self._answering, {}
        changed, self._changed = self._changed, set()
        agents = [self._agents[agent_id] for agent_id in sorted(changed) if agent_id in self._agents]
        instances = {name: each for name, each in self._supervisor.instances.items() if each.agent_id in changed}
        for agent in agents:
            self._supervisor.expect(agent.spec)
        for item in plan(agents, instances):
            if isinstance(item, Aim):
                self._aim(item, answering.get(item.agent_id))
            else:
                self._supervisor.retire(item.instance_id)

    def _aim(self, aim: Aim, asked_in: contextvars.Context | None) -> None:
        if asked_in is None:
            self._supervisor.aim(aim)
        else:
            asked_in.run(self._supervisor.aim, aim)
