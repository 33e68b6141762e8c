"""The metrics of the management API, and what counts them."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics, generate_latest

from agent_manager.telemetry.definitions import Kind, Metric, bounded

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
NO_ROUTE = "none"
"""The route of a request that has none: an unknown path, a refused host."""

_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_ROUTES = (
    f"route as a template without prefix (`/agents/{{agent_id}}`), `{NO_ROUTE}` for unknown paths; method, else `other`"
)

REQUESTS = Metric(
    name="management_api_requests_total",
    kind=Kind.COUNTER,
    help="Answered requests, event streams when they end",
    labels=("route", "method", "status"),
    values=f"{_ROUTES}; status as a number",
)
DURATION = Metric(
    name="management_api_request_duration_seconds",
    kind=Kind.HISTOGRAM,
    help="From a request to the end of its answer, waiting that was asked for included; event streams are left out",
    labels=("route", "method"),
    values=_ROUTES,
    buckets=_BUCKETS_S,
)
IN_PROGRESS = Metric(
    name="management_api_requests_in_progress",
    kind=Kind.GAUGE,
    help="Requests being answered, event streams included",
)
EVENT_STREAMS = Metric(
    name="management_api_event_streams",
    kind=Kind.GAUGE,
    help="Open streams of server-sent events",
)
BUS_CONNECTED = Metric(
    name="management_api_bus_connected",
    kind=Kind.GAUGE,
    help="Whether the API is connected to NATS",
)
BUILD_INFO = Metric(
    name="management_api_build_info",
    kind=Kind.GAUGE,
    help="Always 1; which release runs",
    labels=("version", "python_version"),
)

METRICS: tuple[Metric, ...] = (REQUESTS, DURATION, IN_PROGRESS, EVENT_STREAMS, BUS_CONNECTED, BUILD_INFO)


class ApiMetrics:
    """Counts requests; reads the rest when it is scraped."""

    def __init__(self, *, version: str, event_streams: Callable[[], int], bus_connected: Callable[[], bool]) -> None:
        # A second series for every one, that says when it began: nothing here asks for it.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # annotated nowhere
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = REQUESTS.counter(self._registry)
        self._duration = DURATION.histogram(self._registry)
        self._in_progress = IN_PROGRESS.gauge(self._registry)
        EVENT_STREAMS.gauge(self._registry).set_function(event_streams)
        BUS_CONNECTED.gauge(self._registry).set_function(bus_connected)
        BUILD_INFO.gauge(self._registry).labels(version, platform.python_version()).set(1)

    @contextmanager
    def in_progress(self) -> Iterator[None]:
        """A request is being answered inside."""
        with self._in_progress.track_inprogress():
            yield

    def answered(self, *, route: str | None, method: str, status: int, seconds: float, stream: bool) -> None:
        """A request has its answer. `route` is a template of the application, never a path somebody chose."""
        labels = (route or NO_ROUTE, bounded(method, METHODS))
        self._requests.labels(*labels, str(status)).inc()
        if not stream:
            self._duration.labels(*labels).observe(seconds)

    def exposition(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self._registry)
