"""The subjects an agent answers on, and what they have done so far, as ADR-32 reports it."""

from __future__ import annotations

from dataclasses import dataclass

from nats.micro.service import EndpointInfo, EndpointStats


@dataclass(kw_only=True, slots=True)
class Endpoint:
    """One subject the agent answers on, and its statistics."""

    name: str
    subject: str
    queue_group: str
    requests: int = 0
    errors: int = 0
    processing_ns: int = 0
    last_error: str | None = None

    def record(self, duration_ns: int, error: str | None) -> None:
        """Count a request that took `duration_ns` nanoseconds and failed with `error`, if it did."""
        self.requests += 1
        self.processing_ns += duration_ns
        if error is not None:
            self.errors += 1
            self.last_error = error

    @property
    def info(self) -> EndpointInfo:
        """For `INFO`."""
        return EndpointInfo(name=self.name, subject=self.subject, queue_group=self.queue_group)

    @property
    def stats(self) -> EndpointStats:
        """For `STATS`."""
        return EndpointStats(
            name=self.name,
            subject=self.subject,
            queue_group=self.queue_group,
            num_requests=self.requests,
            num_errors=self.errors,
            last_error=self.last_error,
            processing_time=self.processing_ns,
            average_processing_time=self.processing_ns // max(self.requests, 1),
        )
