"""Write-behind: what is observed goes to the store in batches, and only then to the feed.

Nothing that supervises waits for the store. While it is away, the latest state of each instance, its exits and its
events are kept here; exits are acknowledged to the launcher after their commit, so that a killed manager loses none.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from agent_manager.domain.errors import UnavailableError
from agent_manager.domain.events import Event
from agent_manager.domain.exits import Exit
from agent_manager.domain.instances import Instance
from agent_manager.ports.bus import Announcer
from agent_manager.ports.launcher import Launcher
from agent_manager.ports.store import Store, Transaction
from agent_manager.services.trouble import Trouble

MAX_PENDING = 50_000
"""Exits and events kept while the store is away; beyond it the oldest are dropped and counted."""
QUIET_S = 0.05
"""A write waits until nothing has come for so long: what a crash sets off is over by then, and written as one."""
LONGEST_WAIT_S = 0.5
"""A write waits no longer than that, however much goes on."""
RETRY_S = 1.0
"""Pause after a write that failed."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Ended:
    instance: Instance
    exit: Exit


@dataclass(slots=True)
class _Batch:
    """`facts` are in the order in which they happened; of an instance only the latest state matters."""

    instances: dict[str, Instance] = field(default_factory=dict)
    facts: deque[Event | _Ended] = field(default_factory=deque)
    retired: dict[str, Instance] = field(default_factory=dict)
    dropped: int = 0

    def __len__(self) -> int:
        return len(self.instances) + len(self.facts) + len(self.retired)

    def parts(self) -> Iterator[_Batch]:
        """Everything by itself, in the order in which it is written."""
        for fact in self.facts:
            yield _Batch(facts=deque([fact]))
        for name, instance in self.instances.items():
            yield _Batch(instances={name: instance})
        for name, instance in self.retired.items():
            yield _Batch(retired={name: instance})

    def add(self, fact: Event | _Ended) -> None:
        self.facts.append(fact)
        if len(self.facts) > MAX_PENDING:
            self.facts.popleft()
            self.dropped += 1

    def absorb(self, newer: _Batch) -> None:
        self.instances.update(newer.instances)
        self.retired.update(newer.retired)
        self.dropped += newer.dropped
        for fact in newer.facts:
            self.add(fact)


class Journal:
    """Collects observations and writes them; `run` is its one task."""

    def __init__(self, *, store: Store, launcher: Launcher, announcer: Announcer, node_id: str) -> None:
        self._store = store
        self._launcher = launcher
        self._announcer = announcer
        self._node_id = node_id
        self._pending = _Batch()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._on_released: list[Callable[[str], None]] = []
        self._reported_lost = 0
        self._delay = Trouble(log, begins="observations_delayed", ends="observations_written")

    @property
    def pending(self) -> int:
        """How many observations wait to be written."""
        return len(self._pending)

    @property
    def lost(self) -> int:
        """How many exits and events were dropped, as too many waited."""
        return self._reported_lost + self._pending.dropped

    def on_released(self, callback: Callable[[str], None]) -> None:
        """Call `callback` with the id of every retired instance once its slot is released."""
        self._on_released.append(callback)

    def changed(self, instance: Instance) -> None:
        """An instance has a new status or reason."""
        self._announcer.status(instance)
        self._note(instance)
        self._pending.add(
            Event(
                type=instance.status.value,
                agent_id=instance.agent_id,
                instance_id=instance.id,
                at=instance.since_wall,
                message=instance.reason,
                data=_event_data(instance),
            )
        )

    def noted(self, instance: Instance) -> None:
        """Something else about an instance changed; no event follows from it."""
        self._note(instance)

    def exited(self, instance: Instance, exit_: Exit) -> None:
        """A launch has ended."""
        self._pending.add(_Ended(instance, exit_))
        self._note(instance)

    def retired(self, instance: Instance) -> None:
        """Nothing desires the instance any more and nothing of it is left."""
        self._pending.instances.pop(instance.id, None)
        self._pending.retired[instance.id] = instance
        self._stir()

    async def run(self) -> None:
        """Write what comes, for ever."""
        while True:
            await self._wake.wait()
            await self._gather()
            while self._pending:
                batch, self._pending = self._pending, _Batch()
                if left := await self._write(batch):
                    left.absorb(self._pending)
                    self._pending = left
                    await asyncio.sleep(RETRY_S)
            self._idle.set()

    async def _gather(self) -> None:
        """Writing competes for the interpreter with those who have something to do."""
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + LONGEST_WAIT_S
        while self._wake.is_set() and (rest_s := give_up_at - loop.time()) > 0:
            self._wake.clear()
            await asyncio.sleep(min(QUIET_S, rest_s))
        self._wake.clear()

    async def flushed(self) -> None:
        """Wait until everything noted so far is written."""
        await self._idle.wait()

    def _note(self, instance: Instance) -> None:
        self._pending.instances[instance.id] = instance
        self._stir()

    def _stir(self) -> None:
        self._idle.clear()
        self._wake.set()

    async def _write(self, batch: _Batch) -> _Batch:
        """Write a batch; returns what of it is to be tried again."""
        try:
            events = await self._store.write(lambda transaction: self._unit(transaction, batch))
        except UnavailableError as error:
            self._delay.met(error.message, pending=len(batch.facts))
            return batch
        except Exception:
            return await self._write_singly(batch)
        self._written(batch, events)
        return _Batch()

    async def _write_singly(self, batch: _Batch) -> _Batch:
        """Something in the batch cannot be written, now or ever: it must neither stop the rest nor come back."""
        left = _Batch(dropped=batch.dropped)
        for part in batch.parts():
            if left:
                left.absorb(part)
                continue
            try:
                events = await self._store.write(partial(self._unit, batch=part))
            except UnavailableError as error:
                self._delay.met(error.message, pending=len(batch.facts))
                left.absorb(part)
            except Exception:
                log.exception("observation_unwritable", extra={"observation": repr(part)})
                self._tell_launcher(part)
            else:
                self._written(part, events)
        return left

    def _written(self, batch: _Batch, events: list[Event]) -> None:
        self._delay.over()
        if batch.dropped:
            self._reported_lost += batch.dropped
            log.error("observations_lost", extra={"count": batch.dropped})
        self._tell_launcher(batch)
        for event in events:
            self._announcer.event(event)

    def _tell_launcher(self, written: _Batch) -> None:
        for fact in written.facts:
            if isinstance(fact, _Ended):
                self._launcher.acknowledge(fact.instance.id, fact.exit.launch_id)
        for instance_id in written.retired:
            self._launcher.release(instance_id)
            for callback in self._on_released:
                callback(instance_id)

    def _unit(self, transaction: Transaction, batch: _Batch) -> list[Event]:
        kept = []
        for fact in batch.facts:
            if isinstance(fact, Event):
                kept.append(transaction.append_event(fact))
            elif transaction.record_exit(fact.instance.agent_id, fact.instance.ordinal, self._node_id, fact.exit):
                kept.append(transaction.append_event(_exit_event(fact.instance, fact.exit)))
        for instance in batch.instances.values():
            if not transaction.observe(instance, self._node_id) and _is_placed(transaction, instance):
                log.warning("observation_superseded", extra={"instance_id": instance.id, "epoch": instance.epoch})
        for instance in batch.retired.values():
            transaction.forget_instance(instance.agent_id, instance.ordinal)
        return kept


def _is_placed(transaction: Transaction, instance: Instance) -> bool:
    """An instance that nothing desires any more has no placement while it stops."""
    agent = transaction.agent(instance.agent_id)
    return agent is not None and instance.ordinal < agent.replicas


def _event_data(instance: Instance) -> dict[str, object]:
    launch = instance.launch
    return {
        "pid": launch.pid if launch is not None else None,
        "launch_id": instance.launch_id,
        "incarnation": instance.incarnation,
        "restarts": instance.restarts,
    }


def _exit_event(instance: Instance, exit_: Exit) -> Event:
    return Event(
        type="exited",
        agent_id=instance.agent_id,
        instance_id=instance.id,
        at=exit_.at,
        message=exit_.message,
        data={
            "launch_id": exit_.launch_id,
            "pid": exit_.pid,
            "code": exit_.code,
            "signal": exit_.signal,
            "reason": exit_.reason.value,
        },
    )
