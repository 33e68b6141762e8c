"""Counters an agent keeps of itself, and their way to the node."""

from __future__ import annotations

import asyncio
import math
import re
import threading
from datetime import UTC, datetime

from agent_manager.protocol.messages import MetricsReport
from agent_manager.sdk.connection import Connection
from agent_manager.sdk.errors import DefinitionError

MAX_METRICS = 1_000
NAME_PATTERN = r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}"

_NAME = re.compile(NAME_PATTERN)


class Metrics:
    """Named numbers of this launch since its start. Every thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, float] = {}
        self._changes = 0

    def increment(self, name: str, amount: float = 1.0) -> None:
        """Add `amount` to the metric `name`, which begins at 0. Raises DefinitionError for a bad name or number."""
        with self._lock:
            self._put(name, self._values.get(name, 0.0) + amount)

    def set(self, name: str, value: float) -> None:
        """Set the metric `name` to `value`. Raises DefinitionError for a bad name or number."""
        with self._lock:
            self._put(name, value)

    def read(self) -> tuple[dict[str, float], int]:
        """A copy of all metrics, and the number of changes so far."""
        with self._lock:
            return dict(self._values), self._changes

    def _put(self, name: str, value: float) -> None:
        if name not in self._values:
            self._check_new(name)
        if not math.isfinite(value):
            raise DefinitionError(f"metric {name!r} would become {value!r}; it must be a finite number")
        self._values[name] = float(value)
        self._changes += 1

    def _check_new(self, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise DefinitionError(f"metric name {name[:150]!r} must match {NAME_PATTERN}")
        if len(self._values) >= MAX_METRICS:
            raise DefinitionError(
                f"metric {name!r} would be number {MAX_METRICS + 1}; an agent has {MAX_METRICS} at most"
            )


class MetricsFeed:
    """Publishes an agent's metrics when they have changed."""

    def __init__(self, metrics: Metrics, connection: Connection, *, subject: str, interval_s: float) -> None:
        self._metrics = metrics
        self._connection = connection
        self._subject = subject
        self._interval_s = interval_s
        self._published_changes = 0

    async def run(self) -> None:
        """Publish every `interval_s` seconds for ever."""
        while True:
            await asyncio.sleep(self._interval_s)
            await self.publish()

    async def publish(self) -> None:
        """Publish now, unless nothing changed or the connection is away: the next report says it all again."""
        counters, changes = self._metrics.read()
        if changes == self._published_changes or not self._connection.is_connected:
            return
        self._published_changes = changes
        report = MetricsReport(counters=counters, timestamp=datetime.now(UTC))
        await self._connection.send(self._subject, report.model_dump_json().encode())
