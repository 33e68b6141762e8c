"""Who wants to know how much is done and how long it takes: metrics and spans. Observing neither blocks nor raises."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from agent_manager.domain.instances import Instance


class Observer(Protocol):
    """Told as things happen, in the event loop."""

    def request_begun(self) -> None:
        """A request is being carried out."""
        ...

    def request_answered(self, operation: str, outcome: str, seconds: float) -> None:
        """A request that had begun is answered. `outcome` is `success` or the error's code."""
        ...

    def unit_ended(self, kind: str, *, available: bool, failed: bool, seconds: float) -> None:
        """A unit of work of the store, a `read` or a `write`, has ended; `available` unless it was refused for good."""
        ...

    def instance_changed(self, before: Instance, after: Instance) -> None:
        """An instance is in another state."""
        ...

    def bus_connected(self) -> None:
        """The bus is connected and subscribed, for the first time or again."""
        ...

    def bus_failed(self) -> None:
        """The bus has reported an error, or could not be reached."""
        ...

    def loop_lagged(self, seconds: float) -> None:
        """The event loop came back so much later than it was asked to."""
        ...

    def records_removed(self, table: str, count: int) -> None:
        """Retention has deleted so many records of a table, `events` or `exits`."""
        ...


class Tracer(Protocol):
    """Records spans."""

    def span(self, name: str, attributes: Mapping[str, str], *, server: bool = False) -> AbstractContextManager[object]:
        """A span around what is done inside; `server` where that answers somebody else's request."""
        ...


class Unobserved:
    """Wants to know nothing. Implements `Observer` and `Tracer`."""

    def request_begun(self) -> None:
        """See `Observer`."""

    def request_answered(self, operation: str, outcome: str, seconds: float) -> None:
        """See `Observer`."""

    def unit_ended(self, kind: str, *, available: bool, failed: bool, seconds: float) -> None:
        """See `Observer`."""

    def instance_changed(self, before: Instance, after: Instance) -> None:
        """See `Observer`."""

    def bus_connected(self) -> None:
        """See `Observer`."""

    def bus_failed(self) -> None:
        """See `Observer`."""

    def loop_lagged(self, seconds: float) -> None:
        """See `Observer`."""

    def records_removed(self, table: str, count: int) -> None:
        """See `Observer`."""

    def span(self, name: str, attributes: Mapping[str, str], *, server: bool = False) -> AbstractContextManager[object]:
        """See `Tracer`."""
        return nullcontext()


UNOBSERVED = Unobserved()
