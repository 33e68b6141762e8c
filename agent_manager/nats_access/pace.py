"""How long, how often, how soon: the times of a connection, in seconds."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nats.aio.client import Server


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """`connect_timeout_s` bounds one attempt with one server. A dead connection is noticed after three pings.

    `answers_s` is how long a connection that was replaced stays for answers to what was asked over it.
    """

    connect_timeout_s: float = 2.0
    first_retry_s: float = 0.1
    longest_retry_s: float = 5.0
    ping_interval_s: float = 10.0
    answers_s: float = 3600.0

    def retry_s(self, failures: int) -> float:
        """How long to wait after that many failures in a row: doubled each time, less a random half, so that a fleet
        does not return as one.
        """
        return random.uniform(0.5, 1.0) * min(self.longest_retry_s, self.first_retry_s * 2.0 ** min(failures, 16))

    @property
    def next_server(self) -> Callable[[list[Server], dict[str, Any]], tuple[Server, float]]:
        """nats-py's choice of where to reconnect and after how long: its own waits without jitter."""

        def choose(servers: list[Server], info: dict[str, Any]) -> tuple[Server, float]:
            server = min(servers, key=lambda each: (each.reconnects, random.random()))
            return server, self.retry_s(server.reconnects)

        return choose
