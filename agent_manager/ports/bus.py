"""What services say over the bus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from agent_manager.domain.events import Event
from agent_manager.domain.instances import Instance
from agent_manager.ports.processes import LogPiece


class AgentChannel(Protocol):
    """Requests to one instance."""

    async def ask(
        self, instance_id: str, command: str, params: Mapping[str, Any], *, timeout_s: float
    ) -> Mapping[str, Any]:
        """Send a command and return its result.

        Raises UnavailableError at once when nobody listens or the bus is away, and after `timeout_s` without an answer;
        AgentManagerError with the agent's own words when it refuses.
        """
        ...


class LogChannel(Protocol):
    """Where live output goes."""

    async def lines(self, instance_id: str, stream: str, piece: LogPiece) -> bool:
        """Publish a piece of an output stream, waiting where the bus is slow; False while it is away."""
        ...


class EventStream(Protocol):
    """The public stream of events. Every method raises UnavailableError when it cannot be reached."""

    async def open(self) -> int | None:
        """Its last sequence, that before the first where it is empty; None where there is no stream, or one in which
        somebody else has taken the place of an event.
        """
        ...

    async def restart(self, first: int) -> None:
        """Make it anew, empty, in place of one that may be there: its next sequence is `first`."""
        ...

    async def publish(self, events: Sequence[Event]) -> None:
        """Add events, whose numbers are the next sequences. On failure some, the first ones, may have been added.

        Raises UnavailableError also where the stream has another last sequence.
        """
        ...


class Announcer(Protocol):
    """What observers are told. Never blocks."""

    def event(self, event: Event) -> None:
        """An event is committed: it will be published, once and in its place, by the cluster's publisher."""
        ...

    def status(self, instance: Instance) -> None:
        """Publish an instance's status; it is lost where that cannot be done now."""
        ...
