"""Counts what is observed, as it happens."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from agent_manager.adapters.prometheus import definitions
from agent_manager.domain.exits import ExitReason
from agent_manager.domain.instances import Instance
from agent_manager.protocol.errors import ErrorCode
from agent_manager.protocol.operations import OPERATIONS
from agent_manager.telemetry.definitions import bounded

SUCCESS = "success"
UNKNOWN = "unknown"
KINDS = ("read", "write")
TABLES = ("events", "exits")

_OPERATIONS = frozenset({*(operation.name for operation in OPERATIONS), UNKNOWN})
_OUTCOMES = frozenset({*(code.value for code in ErrorCode), SUCCESS})


class Instruments:
    """Implements `ports.observation.Observer`. Every thread may use it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = definitions.REQUEST_DURATION.histogram(registry)
        self._in_progress = definitions.REQUESTS_IN_PROGRESS.gauge(registry)
        self._store_available = definitions.STORE_AVAILABLE.gauge(registry)
        self._store_errors = definitions.STORE_ERRORS.counter(registry)
        self._units = definitions.STORE_DURATION.histogram(registry)
        self._restarts = definitions.RESTARTS.counter(registry)
        self._exits = definitions.EXITS.counter(registry)
        self._bus_reconnects = definitions.BUS_RECONNECTS.counter(registry)
        self._bus_errors = definitions.BUS_ERRORS.counter(registry)
        self._loop_lag = definitions.LOOP_LAG.histogram(registry)
        self._removed = definitions.RECORDS_REMOVED.counter(registry)
        self._was_connected = False
        # A series that begins at its first event hides that event from rate() and increase().
        for reason in ExitReason:
            self._exits.labels(reason.value)
        for kind in KINDS:
            self._store_errors.labels(kind)
            self._units.labels(kind)
        for table in TABLES:
            self._removed.labels(table)

    def request_begun(self) -> None:
        """See the port."""
        self._in_progress.inc()

    def request_answered(self, operation: str, outcome: str, seconds: float) -> None:
        """See the port."""
        self._in_progress.dec()
        self._requests.labels(bounded(operation, _OPERATIONS), bounded(outcome, _OUTCOMES)).observe(seconds)

    def unit_ended(self, kind: str, *, available: bool, failed: bool, seconds: float) -> None:
        """See the port."""
        self._store_available.set(available)
        self._units.labels(kind).observe(seconds)
        if failed:
            self._store_errors.labels(kind).inc()

    def instance_changed(self, before: Instance, after: Instance) -> None:
        """See the port."""
        self._restarts.inc(max(0, after.restarts - before.restarts))
        ended, known = after.last_exit, before.last_exit
        if ended is not None and (known is None or known.launch_id != ended.launch_id):
            self._exits.labels(ended.reason.value).inc()

    def bus_connected(self) -> None:
        """See the port."""
        if self._was_connected:
            self._bus_reconnects.inc()
        self._was_connected = True

    def bus_failed(self) -> None:
        """See the port."""
        self._bus_errors.inc()

    def loop_lagged(self, seconds: float) -> None:
        """See the port."""
        self._loop_lag.observe(seconds)

    def records_removed(self, table: str, count: int) -> None:
        """See the port."""
        self._removed.labels(table).inc(count)
