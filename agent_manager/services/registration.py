"""Registration: what discovery finds becomes packages and agents."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from agent_manager.domain.agents import (
    NO_AGENT,
    Agent,
    ManifestFault,
    Package,
    PackageStatus,
    folder_agent_id,
    subject_of,
)
from agent_manager.domain.errors import AgentManagerError, UnavailableError
from agent_manager.domain.events import Event
from agent_manager.domain.identifiers import agent_id_of_folder
from agent_manager.domain.instances import InstanceStatus
from agent_manager.domain.lifecycle import Lifecycle
from agent_manager.domain.specification import AgentSpec, OnChange, short_digest
from agent_manager.ports.bus import Announcer
from agent_manager.ports.clock import Clock
from agent_manager.ports.packages import FoundPackage, PackageSource, Stage
from agent_manager.ports.store import Store, Transaction
from agent_manager.services.preparation import Preparation
from agent_manager.services.reconciler import Reconciler
from agent_manager.services.trouble import Trouble

RETRY_S = 1.0
"""Pause after a look that failed."""

FILES_NAMED = 5
"""Changed files that an event names."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Discovery:
    """Keeps packages and agents in step with the package folders. A bad package disturbs nothing but itself."""

    source: PackageSource
    preparation: Preparation
    store: Store
    announcer: Announcer
    reconciler: Reconciler
    clock: Clock
    node_id: str
    _folders: Trouble = field(
        default_factory=lambda: Trouble(log, begins="packages_unavailable", ends="packages_available"), init=False
    )
    _delay: Trouble = field(
        default_factory=lambda: Trouble(log, begins="registration_delayed", ends="registration_resumed"), init=False
    )

    async def run(self, *, looked: bool = True) -> None:
        """Look whenever something may have changed, for ever. A failed look is repeated, also one just before this."""
        await self._repeat_until(looked)
        async with aclosing(self.source.changes()) as changes:
            async for _ in changes:
                await self._repeat_until(await self.look())

    async def _repeat_until(self, looked: bool) -> None:
        while not looked:
            await asyncio.sleep(RETRY_S)
            looked = await self.look()

    async def look(self) -> bool:
        """Scan once and register what is there; False, and nothing changed, while folders or store are away.

        While the folders are away, agents are kept as they are: that is told as an event, once, and when it is over.
        """
        now = self.clock.now().wall
        try:
            folders = await self.source.scan()
        except UnavailableError as error:
            await self._folders_away(error.message, now)
            return False
        found = [self.preparation.prepared(folder) for folder in folders]
        try:
            back = self._folders.cause is not None
            events = await self.store.write(
                lambda transaction: [*_back(transaction, back, now), *register(transaction, found, self.node_id, now)]
            )
        except AgentManagerError as error:
            self._delay.met(error.message)
            return False
        self._folders.over()
        self._delay.over()
        self._tell(events)
        await self._tidy(found)
        return True

    async def _folders_away(self, why: str, now: float) -> None:
        if self._folders.cause == why:
            return
        message = f"{why}; agents are kept as they are until then"
        event = Event(type="packages_unavailable", agent_id=NO_AGENT, at=now, message=message)
        try:
            told = await self.store.write(lambda transaction: transaction.append_event(event))
        except AgentManagerError as error:
            self._delay.met(error.message)
            return
        self._folders.met(why)
        self.announcer.event(told)

    def _tell(self, events: Sequence[Event]) -> None:
        for event in events:
            log.info(event.type, extra={"agent_id": event.agent_id, "message_text": event.message, **event.data})
            self.announcer.event(event)
        if events:
            self.reconciler.nudge()

    async def _tidy(self, found: Sequence[FoundPackage]) -> None:
        if self.reconciler.knows:
            instances = self.reconciler.instances
            await self.preparation.keep_only(self.reconciler.agents.values(), instances.values(), found)


def register(transaction: Transaction, found: Sequence[FoundPackage], node_id: str, now: float) -> list[Event]:
    """The unit of work: bring rows in step with `found`; returns the events appended, none when nothing changed."""
    known = {package.name: package for package in transaction.packages() if package.node_id == node_id}
    elsewhere = {agent.id: agent.node_id for agent in transaction.agents() if agent.node_id != node_id}
    events: list[Event] = []
    for folder in _uncontested(transaction, found):
        package = known.pop(folder.name, None)
        if folder.stage is not Stage.SETTLING:
            own = _on_this_node(folder, elsewhere)
            events.extend(_register_folder(transaction, own, package, node_id, now))
    for package in known.values():
        events.extend(_folder_gone(transaction, package, now))
    return [transaction.append_event(event) for event in events]


def _back(transaction: Transaction, back: bool, now: float) -> list[Event]:
    if not back:
        return []
    event = Event(type="packages_available", agent_id=NO_AGENT, at=now, message="the package folder is there again")
    return [transaction.append_event(event)]


def _uncontested(transaction: Transaction, found: Sequence[FoundPackage]) -> list[FoundPackage]:
    """`found`, where a folder whose agent id belongs to another one has a fault that says so."""
    claims: defaultdict[str | None, list[FoundPackage]] = defaultdict(list)
    for folder in found:
        claims[folder_agent_id(folder.name)].append(folder)
    owners = {agent_id: _owner(transaction, agent_id, claimants) for agent_id, claimants in claims.items()}
    return [_settled(folder, owners[folder_agent_id(folder.name)]) for folder in found]


def _owner(transaction: Transaction, agent_id: str | None, claimants: Sequence[FoundPackage]) -> str | None:
    """Which folder has the agent id: the one its agent is of, else the first valid one; None where there is none.

    A folder that is dropped in never takes a running agent over, not even one whose manifest is faulty at the moment.
    """
    if agent_id is None or len(claimants) == 1:
        return None
    agent = transaction.agent(agent_id)
    if agent is not None and any(folder.name == agent.package for folder in claimants):
        return agent.package
    return next((folder.name for folder in claimants if folder.spec is not None), None)


def _settled(folder: FoundPackage, owner: str | None) -> FoundPackage:
    if owner is None or owner == folder.name or folder.stage is Stage.SETTLING:
        return folder
    message = (
        f"folders {owner} and {folder.name} both give the agent id {agent_id_of_folder(owner)}, and {owner} has it: "
        "rename one"
    )
    return _contested(folder, message)


def _on_this_node(folder: FoundPackage, elsewhere: Mapping[str, str]) -> FoundPackage:
    """The folder, with a fault where the agent of that name is another node's that uses the same database.

    `elsewhere` has the nodes of such agents by agent id.
    """
    agent_id = folder_agent_id(folder.name)
    if agent_id is None or agent_id not in elsewhere:
        return folder
    node_id = elsewhere[agent_id]
    message = (
        f"agent {agent_id} is in this database already, and belongs to the node {node_id}: rename the folder. If "
        f"that node is gone for good, this one takes its place when it is stopped, {node_id} is written into its "
        "node.json as node_id, and it is started again"
    )
    return _contested(folder, message)


def _contested(folder: FoundPackage, message: str) -> FoundPackage:
    fault = ManifestFault(
        file=folder.name, message=message, value=folder.name, expected="a folder name that no other agent has"
    )
    # Whatever became of its environment: none is needed.
    return replace(folder, spec=None, stage=Stage.FOUND, faults=(fault, *folder.faults))


def _register_folder(
    transaction: Transaction, folder: FoundPackage, known: Package | None, node_id: str, now: float
) -> list[Event]:
    spec = folder.spec
    package = Package(
        name=folder.name,
        node_id=node_id,
        path=folder.path,
        agent_id=agent_id_of_folder(folder.name) if spec is not None else (known.agent_id if known else None),
        status=_status(folder),
        updated_at=now,
        spec=spec if spec is not None else (known.spec if known else None),
        digest=folder.digest,
        faults=folder.faults,
    )
    if known is not None and replace(package, updated_at=known.updated_at) == known:
        return []
    transaction.save_package(package)
    if spec is None or package.agent_id is None:
        return [_not_usable(package, now)]
    events = _register_agent(transaction, package, package.agent_id, spec, folder.changed, now)
    had_faults, has_faults = bool(known and known.faults), bool(package.faults)
    if has_faults and (known is None or known.faults != package.faults):
        return [*events, _told(package, "package_unsettled", now)]
    if not events and had_faults and not has_faults:
        return [_mended(transaction, package.name, package.agent_id, now)]
    return events


def _mended(transaction: Transaction, name: str, agent_id: str, now: float) -> Event:
    """The package is again what its agent has: no new version, so what was given up meanwhile has to be started."""
    message = f"package {name} is valid again"
    agent = transaction.agent(agent_id)
    given_up = any(instance.status is InstanceStatus.ERROR for instance in transaction.instances(agent_id))
    if agent is not None and agent.should_run and given_up and agent.spec.on_change is OnChange.RESTART:
        transaction.save_agent(agent.started(now))
        message = f"{message}; what was given up is started"
    return Event(type="package_mended", agent_id=agent_id, at=now, message=message)


def _status(folder: FoundPackage) -> PackageStatus:
    if folder.stage is Stage.PREPARING:
        return PackageStatus.PREPARING
    if folder.stage is Stage.FAILED:
        return PackageStatus.FAILED
    return PackageStatus.AVAILABLE if folder.spec is not None else PackageStatus.INVALID


def _register_agent(
    transaction: Transaction, package: Package, agent_id: str, spec: AgentSpec, files: Sequence[str], now: float
) -> list[Event]:
    present = transaction.agent(agent_id)
    if present is None:
        agent = _new_agent(package, agent_id, spec, now)
        transaction.save_agent(agent)
        return [_event("registered", agent_id, now, f"registered from {package.path}", agent)]
    agent = _renewed(present, package, spec, now)
    if replace(agent, updated_at=present.updated_at) == present:
        return []
    transaction.save_agent(agent)
    return [_updated(present, agent, files, now)]


def _updated(before: Agent, after: Agent, files: Sequence[str], now: float) -> Event:
    event = _event("updated", after.id, now, f"package {after.package} is back", after)
    if before.available and not before.spec.is_other_version(after.spec):
        return replace(event, message=f"package {after.package} is registered anew; instances keep what they run")
    if not before.spec.is_other_version(after.spec):
        return event
    named = ", ".join(files[:FILES_NAMED]) + (
        f" and {len(files) - FILES_NAMED} more" if len(files) > FILES_NAMED else ""
    )
    steps = f"{short_digest(before.spec.digest)} → {short_digest(after.spec.digest)}"
    restarted = after.restart_serial > before.restart_serial
    then = "its instances are restarted" if restarted else "instances keep what they run until they are restarted"
    message = f"package {after.package} has changed{f' ({named})' if named else ''}: {steps}; {then}"
    data = {"from_digest": before.spec.digest, "to_digest": after.spec.digest, "files": list(files[:FILES_NAMED])}
    return replace(event, message=message, data={**event.data, **data})


def _new_agent(package: Package, agent_id: str, spec: AgentSpec, now: float) -> Agent:
    agent = Agent(
        id=agent_id,
        package=package.name,
        node_id=package.node_id,
        spec=spec,
        lifecycle=Lifecycle.READY,
        created_at=now,
        updated_at=now,
        replicas=spec.replicas,
        config=spec.config,
    )
    return agent.started(now) if spec.autostart else agent


def _renewed(agent: Agent, package: Package, spec: AgentSpec, now: float) -> Agent:
    """The agent with its package's present version; what its user has set apart from the manifest stays.

    Where it is to run and the files have changed, its instances are restarted, unless the manifest says otherwise.
    """
    renewed = replace(
        agent,
        package=package.name,
        spec=spec,
        available=True,
        replicas=spec.replicas if agent.replicas == agent.spec.replicas else agent.replicas,
        config=spec.config if agent.config == agent.spec.config else agent.config,
        updated_at=now,
    )
    moves = agent.lifecycle.runs and agent.spec.is_other_version(spec) and spec.on_change is OnChange.RESTART
    return renewed.restarted(now) if moves else renewed


def _folder_gone(transaction: Transaction, package: Package, now: float) -> list[Event]:
    agent = transaction.agent(package.agent_id) if package.agent_id is not None else None
    if agent is None or (agent.package, agent.node_id) != (package.name, package.node_id):
        # It never became an agent, or another folder has taken the agent over (this one, renamed).
        transaction.remove_package(package.node_id, package.name)
    elif package.status is PackageStatus.UNAVAILABLE:
        return []
    else:
        gone = replace(package, status=PackageStatus.UNAVAILABLE, faults=(), updated_at=now)
        transaction.save_package(gone)
        transaction.save_agent(replace(agent, available=False, updated_at=now))
    message = f"the folder {package.path} is gone"
    return [Event(type="package_removed", agent_id=subject_of(package), at=now, message=message)]


def _not_usable(package: Package, now: float) -> Event:
    if package.status is PackageStatus.PREPARING:
        message = f"the environment of package {package.name} is being made; what runs goes on"
        data = {"digest": package.digest}
        return Event(type="package_preparing", agent_id=subject_of(package), at=now, message=message, data=data)
    return _told(package, f"package_{package.status}", now)


def _told(package: Package, type_: str, now: float) -> Event:
    faults = "; ".join(str(fault) for fault in package.faults)
    return Event(type=type_, agent_id=subject_of(package), at=now, message=faults)


def _event(type_: str, agent_id: str, now: float, message: str, agent: Agent) -> Event:
    data = {
        "version": agent.spec.version,
        "digest": agent.spec.digest,
        "model": agent.spec.model,
        "capabilities": len(agent.spec.capabilities),
    }
    return Event(type=type_, agent_id=agent_id, at=now, message=message, data=data)
