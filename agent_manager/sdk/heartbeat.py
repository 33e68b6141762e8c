"""Heartbeats: the agent says that it lives, and how. Sent from the event loop, so that a blocked loop is silent."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime

from agent_manager.protocol.messages import StatusReport
from agent_manager.sdk.connection import Connection
from agent_manager.sdk.status import Status

MOMENTS = 5
"""Into how many an interval is divided: agents of a host beat at these moments only."""


class Heartbeat:
    """Numbered status reports of one launch, from 1. `load` gives 0 (idle) to 1 (full)."""

    def __init__(
        self, status: Status, connection: Connection, *, subject: str, incarnation: int, load: Callable[[], float]
    ) -> None:
        self._status = status
        self._connection = connection
        self._subject = subject
        self._incarnation = incarnation
        self._load = load
        self._number = 0

    async def run(self, interval_s: float) -> None:
        """Beat every `interval_s` seconds for ever."""
        while True:
            await asyncio.sleep(pause_s(time.monotonic(), interval_s))
            await self.beat()

    async def beat(self) -> None:
        """Report now; not while the connection is away, where it would be buffered and arrive as a lie."""
        if not self._connection.is_connected:
            return
        self._number += 1
        report = StatusReport(
            number=self._number,
            incarnation=self._incarnation,
            status=self._status.name,
            load=self._load(),
            metadata={"pid": os.getpid()},
            timestamp=datetime.now(UTC),
        )
        await self._connection.send(self._subject, report.model_dump_json().encode())


def pause_s(now: float, interval_s: float) -> float:
    """Seconds from `now` (the monotonic clock, which is one for all processes of a host) to the next beat.

    It comes at a moment that agents with this interval share, never later than `interval_s`: who listens to a hundred
    of them is woken for many at once, which costs a fraction. The kernel rounds its timers likewise (`round_jiffies`),
    systemd its own (`AccuracySec=`).
    """
    moment_s = interval_s / MOMENTS
    return math.floor((now + interval_s) / moment_s) * moment_s - now
