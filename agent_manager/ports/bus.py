"""What services say over the bus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from agent_manager.domain.events import Event
from agent_manager.domain.instances import Instance


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


class Announcer(Protocol):
    """The live feed. Never blocks; what cannot be sent now is lost here (the rows are kept)."""

    def event(self, event: Event) -> None:
        """Publish a committed event."""
        ...

    def status(self, instance: Instance) -> None:
        """Publish an instance's status."""
        ...
