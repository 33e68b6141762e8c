"""Commands: each changes desired state in one transaction with its event, nudges, and is over.

Accepted means committed. Whoever wants to see it done waits afterwards; that wait changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agent_manager.domain.agents import Agent, ManifestFault, Package, PackageStatus, folder_agent_id, subject_of
from agent_manager.domain.errors import ConflictError, NotFoundError
from agent_manager.domain.events import Event
from agent_manager.domain.identifiers import check_agent_id, instance_id
from agent_manager.domain.instances import Instance
from agent_manager.ports.bus import Announcer
from agent_manager.ports.clock import Clock
from agent_manager.ports.store import Store, Transaction
from agent_manager.services.preparation import Preparation
from agent_manager.services.reconciler import Reconciler
from agent_manager.services.supervisor import Supervisor


@dataclass(frozen=True, kw_only=True, slots=True)
class Changed:
    """What was committed, the faults of the agent's package, and whether all of it is done by now."""

    agent: Agent
    faults: tuple[ManifestFault, ...]
    done: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Commands:
    """What may be asked of an agent. `actor` says who asks, where that is known."""

    store: Store
    announcer: Announcer
    reconciler: Reconciler
    supervisor: Supervisor
    clock: Clock
    node_id: str
    preparation: Preparation

    async def start(self, agent_id: str, *, actor: str | None, wait_s: float) -> Changed:
        """Let it run. Raises NotFoundError, ConflictError, UnavailableError."""
        return await self._change(agent_id, "start_requested", Agent.started, actor, wait_s)

    async def stop(self, agent_id: str, *, actor: str | None, wait_s: float) -> Changed:
        """Stop it. Raises NotFoundError, ConflictError, UnavailableError."""
        return await self._change(agent_id, "stop_requested", Agent.stopped, actor, wait_s)

    async def restart(self, agent_id: str, *, actor: str | None, wait_s: float) -> Changed:
        """Give every instance a new process. Raises as `start`."""
        return await self._change(agent_id, "restart_requested", Agent.restarted, actor, wait_s)

    async def retry_package(self, name: str, *, actor: str | None) -> Package:
        """Make again what a package failed for want of. Raises NotFoundError, ConflictError, UnavailableError.

        Returns the package as it was. A manager that dies after the answer changes nothing: the next one tries anyway.
        """
        now = self.clock.now().wall

        def unit(transaction: Transaction) -> tuple[Package, Event]:
            package = _existing_package(transaction, name, self.node_id)
            if package.status is not PackageStatus.FAILED:
                raise ConflictError(
                    f"package {name} is {package.status}: only one whose environment could not be made (failed) is "
                    "tried again; other faults are mended in the folder",
                    detail={"package": name, "status": package.status.value},
                )
            event = Event(
                type="package_retry_requested",
                agent_id=subject_of(package),
                at=now,
                actor=actor,
                message=f"the environment of package {name} is to be made again",
            )
            return package, transaction.append_event(event)

        package, event = await self.store.write(unit)
        self.announcer.event(event)
        self.preparation.retry(name)
        return package

    async def _change(
        self, agent_id: str, event_type: str, change: Callable[[Agent, float], Agent], actor: str | None, wait_s: float
    ) -> Changed:
        check_agent_id(agent_id)
        now = self.clock.now().wall

        def unit(transaction: Transaction) -> tuple[Agent, Package | None, Event]:
            changed = change(existing(transaction, agent_id), now)
            transaction.save_agent(changed)
            event = Event(
                type=event_type,
                agent_id=agent_id,
                at=now,
                actor=actor,
                message=event_type.replace("_", " "),
                data={"lifecycle": changed.lifecycle.value},
            )
            package = transaction.package(changed.node_id, changed.package)
            return changed, package, transaction.append_event(event)

        agent, package, event = await self.store.write(unit)
        self.announcer.event(event)
        self.reconciler.nudge(agent_id)
        if wait_s > 0:
            await self.supervisor.until(lambda: self._outcome(agent) is not None, wait_s)
        faults = package.faults if package is not None else ()
        return Changed(agent=agent, faults=faults, done=self._outcome(agent) is True)

    def _outcome(self, agent: Agent) -> bool | None:
        """Whether every instance has got there; False as soon as one has given up, None while neither holds.

        Where one has given up, those that a rolling restart holds back behind it do not get there either.
        """
        told = self._told(agent)
        if any(instance.settled and not instance.arrived for instance in told):
            return False
        return True if len(told) == agent.replicas and all(instance.arrived for instance in told) else None

    def _told(self, agent: Agent) -> list[Instance]:
        """The instances that the agent is to have, as far as they aim at what was changed."""
        names = [instance_id(agent.id, ordinal) for ordinal in range(agent.replicas)]
        instances = [self.supervisor.instance(name) for name in names]
        return [
            instance
            for instance in instances
            if instance is not None
            and instance.target.run is agent.should_run
            and instance.target.start_serial >= agent.start_serial
            and instance.target.restart_serial >= agent.restart_serial
        ]


def _existing_package(transaction: Transaction, name: str, node_id: str) -> Package:
    found = (package for package in transaction.packages() if (package.name, package.node_id) == (name, node_id))
    package = next(found, None)
    if package is None:
        raise NotFoundError(f"package {name} not found", detail={"package": name})
    return package


def existing(transaction: Transaction, agent_id: str) -> Agent:
    """The agent. Raises NotFoundError naming the id, and what keeps a package of that name from becoming it."""
    agent = transaction.agent(agent_id)
    if agent is None:
        package = next((each for each in transaction.packages() if folder_agent_id(each.name) == agent_id), None)
        why = f": its package {package.name} is {package.status}" if package is not None else ""
        faults = f" ({'; '.join(map(str, package.faults))})" if package is not None and package.faults else ""
        raise NotFoundError(f"agent {agent_id} not found{why}{faults}", detail={"agent_id": agent_id})
    return agent
