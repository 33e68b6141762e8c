"""What a metric is: the one definition its instrument, its page and the tests of dashboards are made from."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily


class Kind(StrEnum):
    """Prometheus' kinds of metrics, as far as they are used here."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """One metric. `name` is as scraped: base units, counters with `_total`; `values` lists those of its labels."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    values: str = ""
    buckets: tuple[float, ...] = ()

    def counter(self, registry: CollectorRegistry) -> Counter:
        """An instrument that counts."""
        return Counter(self.name, self.help, self.labels, registry=registry)

    def gauge(self, registry: CollectorRegistry) -> Gauge:
        """An instrument that goes up and down."""
        return Gauge(self.name, self.help, self.labels, registry=registry)

    def histogram(self, registry: CollectorRegistry) -> Histogram:
        """An instrument that sorts what it observes into `buckets`."""
        return Histogram(self.name, self.help, self.labels, registry=registry, buckets=self.buckets)

    def family(self) -> CounterMetricFamily | GaugeMetricFamily:
        """Room for values that are read when they are asked for."""
        make = CounterMetricFamily if self.kind is Kind.COUNTER else GaugeMetricFamily
        return make(self.name, self.help, labels=self.labels)

    @property
    def series(self) -> frozenset[str]:
        """The names of its series."""
        if self.kind is Kind.HISTOGRAM:
            return frozenset(f"{self.name}_{part}" for part in ("bucket", "count", "sum"))
        return frozenset({self.name})


def bounded(value: str, allowed: Collection[str]) -> str:
    """A label's value: one of those there are, else `other`, so that nobody outside decides how many series exist."""
    return value if value in allowed else "other"
