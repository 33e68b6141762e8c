"""A census: what there is on this node at one moment, to be counted elsewhere and at leisure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from agent_manager.domain.agents import Agent
from agent_manager.domain.instances import Heartbeat, Instance
from agent_manager.ports.clock import Clock
from agent_manager.services.journal import Journal
from agent_manager.services.reconciler import Reconciler
from agent_manager.services.supervisor import Supervisor


@dataclass(frozen=True, kw_only=True, slots=True)
class Census:
    """Frozen values and copies, which any thread may read. `at_mono` is the clock of `Launch.heartbeat_at`."""

    at_mono: float
    agents: Mapping[str, Agent]
    instances: Mapping[str, Instance]
    heartbeats: Mapping[str, Heartbeat]
    journal_pending: int
    journal_lost: int
    feed_waiting: int
    feed_dropped: int
    bus_connected: bool
    launcher_connected: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Links:
    """What the parts that are no services tell of themselves, asked when it is wanted."""

    feed_waiting: Callable[[], int]
    feed_dropped: Callable[[], int]
    bus_connected: Callable[[], bool]
    launcher_connected: Callable[[], bool]


@dataclass(frozen=True, kw_only=True, slots=True)
class CensusTaker:
    """Takes a census: in the event loop, by copying dictionaries, so that nothing waits for it."""

    supervisor: Supervisor
    reconciler: Reconciler
    journal: Journal
    links: Links
    clock: Clock

    def take(self) -> Census:
        """What there is now."""
        return Census(
            at_mono=self.clock.now().mono,
            agents=dict(self.reconciler.agents),
            instances=dict(self.supervisor.instances),
            heartbeats=dict(self.supervisor.heartbeats),
            journal_pending=self.journal.pending,
            journal_lost=self.journal.lost,
            feed_waiting=self.links.feed_waiting(),
            feed_dropped=self.links.feed_dropped(),
            bus_connected=self.links.bus_connected(),
            launcher_connected=self.links.launcher_connected(),
        )
