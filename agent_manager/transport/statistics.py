"""What `nats micro stats` shows of an endpoint, counted here.

Requests are carried out in tasks of their own, so that nats.micro, which counts around its callback, sees neither how
long they take nor how they end.
"""

from __future__ import annotations

from dataclasses import dataclass

from nats.micro.service import EndpointStats

from agent_manager.protocol.errors import ErrorBody


@dataclass(slots=True)
class Tally:
    """Requests of one endpoint that have been answered. Times are nanoseconds, as in ADR-32."""

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

    def fill(self, stats: EndpointStats) -> None:
        """Put the truth in place of what nats.micro has counted; the number of requests received is its own."""
        stats.num_errors = self.errors
        stats.last_error = self.last_error
        stats.processing_time = self.busy_ns
        stats.average_processing_time = self.busy_ns // self.answered if self.answered else 0
