"""The store: units of work over what must survive."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeVar

from agent_manager.domain.agents import Agent, Package
from agent_manager.domain.events import Event
from agent_manager.domain.exits import Exit
from agent_manager.domain.instances import Instance

T = TypeVar("T")


class Transaction(Protocol):
    """What a unit of work may do. Synchronous; valid only inside the unit it was handed to."""

    def agents(self) -> Sequence[Agent]:
        """All agents, ordered by id."""
        ...

    def agent(self, agent_id: str) -> Agent | None:
        """One agent, or None."""
        ...

    def save_agent(self, agent: Agent) -> None:
        """Insert or replace an agent, and keep as many placements as replicas (node and epoch as the agent's)."""
        ...

    def packages(self) -> Sequence[Package]:
        """All packages, ordered by node and name."""
        ...

    def package(self, node_id: str, name: str) -> Package | None:
        """One package, or None."""
        ...

    def save_package(self, package: Package) -> None:
        """Insert or replace a package, known by node and name."""
        ...

    def remove_package(self, node_id: str, name: str) -> None:
        """Forget a package; nothing happens when it is unknown."""
        ...

    def instances(self, agent_id: str | None = None) -> Sequence[Instance]:
        """Instances as last observed, of one agent or all, ordered by agent and ordinal."""
        ...

    def observe(self, instance: Instance, node_id: str) -> bool:
        """Write what was observed; False, and nothing changed, where the placement carries another epoch."""
        ...

    def forget_instance(self, agent_id: str, ordinal: int) -> None:
        """Remove the observed row of an instance that is desired no longer."""
        ...

    def record_exit(self, agent_id: str, ordinal: int, node_id: str, exit_: Exit) -> bool:
        """Keep an exit; False when that launch's exit is kept already: then only its last lines are taken over."""
        ...

    def exits(self, agent_id: str, limit: int) -> Sequence[Exit]:
        """The newest exits of an agent, newest first."""
        ...

    def agents_with_exits(self, after: str, limit: int) -> Sequence[str]:
        """Ids above `after` of agents that exits are kept of, ordered; agents that are gone themselves included."""
        ...

    def trim_exits(self, agent_id: str, *, before: float, keep: int, settled: float, limit: int) -> int:
        """Delete an agent's oldest exits, at most `limit`: those before `before`, and those beyond its `keep` newest.

        Moments are Unix seconds. None from `settled` or later goes, whatever the rest says: its launcher may tell of it
        again, and a record that is gone would be made anew. Returns how many are deleted.
        """
        ...

    def append_event(self, event: Event) -> Event:
        """Add an event; returns it with its sequence."""
        ...

    def events(self, after: int, limit: int) -> Sequence[Event]:
        """Events with a sequence above `after`, lowest first: the history.

        Not for following what is new: where several write, an event may appear below one that was seen before.
        """
        ...

    def unpublished_events(self, limit: int) -> Sequence[Event]:
        """Events that have no number yet, lowest sequence first: whenever they were committed, none is skipped."""
        ...

    def mark_published(self, numbers: Mapping[int, int]) -> None:
        """Give events their numbers, by sequence. For the one publisher; an event that has a number keeps it."""
        ...

    def published_events(self, after: int, limit: int) -> Sequence[Event]:
        """Events with a number above `after`, lowest first: for following, since numbers are given in order."""
        ...

    def last_event_number(self) -> int:
        """The highest number an event has, 0 where none has one."""
        ...

    def first_event_number(self, *, since: float) -> int | None:
        """The lowest number of those events that happened at `since` (Unix seconds) or later; None without any."""
        ...

    def trim_events(self, *, through: int, before: float, keep: int, limit: int) -> int:
        """Delete events from the lowest number on, at most `limit`; returns how many.

        Those go that happened before `before` (Unix seconds), and those whose number is `keep` or more below the
        highest. It ends at the first that stays, so that what is left has no gap. What never goes: events with a number
        above `through` or none at all, and the one with the highest, by which the next one is numbered.
        """
        ...


class Store(Protocol):
    """Runs units of work. Raises UnavailableError when the database cannot be reached or does not take the write.

    A unit is a pure function of its transaction: where the database finds it at odds with another one it is run again.
    """

    @property
    def is_shared(self) -> bool:
        """Whether other processes may write to it too."""
        ...

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` and commit; on return what it wrote is on disk. An exception of `work` undoes it alone.

        Units are carried out as if one after the other, in any order.
        """
        ...

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` on a consistent snapshot; it must not write."""
        ...

    def hold(self, name: str) -> AbstractAsyncContextManager[None]:
        """Be the only one in the cluster that holds `name`, for the time of the block; waits until it is free.

        A holding that is lost with the database ends the block: what runs in it is cancelled, and the block raises
        UnavailableError, as it does where the database cannot be reached while it waits. Whoever is cut off may go on
        for some seconds after another one has begun: what must not happen twice needs a fence of its own, such as an
        expected last sequence.
        """
        ...


class ManagedStore(Store, Protocol):
    """A store with its life."""

    async def open(self) -> None:
        """Connect and check the schema; may be tried again after a failure. Raises UnavailableError."""
        ...

    async def close(self) -> None:
        """Finish what was asked before, then let go of the database. Nothing happens when it is not open."""
        ...
