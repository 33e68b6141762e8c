"""What `nats micro info` and `stats` show of an endpoint (ADR-32)."""

from __future__ import annotations

from dataclasses import dataclass

from nats.micro.service import EndpointInfo, EndpointStats

from agent_manager.protocol import subjects
from agent_manager.protocol.errors import ErrorBody


@dataclass(kw_only=True, slots=True)
class Tally:
    """Requests of one endpoint: those received, and how they were answered. Times are nanoseconds."""

    name: str
    subject: str
    received: int = 0
    answered: int = 0
    errors: int = 0
    busy_ns: int = 0
    last_error: str | None = None

    def count(self, error: ErrorBody | None, elapsed_ns: int) -> None:
        """A request has been answered."""
        self.answered += 1
        self.busy_ns += elapsed_ns
        if error is not None:
            self.errors += 1
            self.last_error = f"{error.code}:{error.message}"

    @property
    def info(self) -> EndpointInfo:
        """For `INFO`."""
        return EndpointInfo(name=self.name, subject=self.subject, queue_group=subjects.MANAGER_QUEUE)

    @property
    def stats(self) -> EndpointStats:
        """For `STATS`."""
        return EndpointStats(
            name=self.name,
            subject=self.subject,
            queue_group=subjects.MANAGER_QUEUE,
            num_requests=self.received,
            num_errors=self.errors,
            last_error=self.last_error,
            processing_time=self.busy_ns,
            average_processing_time=self.busy_ns // max(self.answered, 1),
        )
