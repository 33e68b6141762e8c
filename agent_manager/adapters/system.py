"""The clocks and the randomness of this machine."""

from __future__ import annotations

import random
import secrets
import time

from agent_manager.domain.clock import Now


class SystemClock:
    """Implements `ports.clock.Clock`."""

    def now(self) -> Now:
        """See the port."""
        return Now(mono=time.monotonic(), wall=time.time())


class SystemChance:
    """Implements `ports.clock.Chance`."""

    def launch_id(self) -> str:
        """See the port: 64 random bits in hexadecimal."""
        return secrets.token_hex(8)

    def jitter(self) -> float:
        """See the port."""
        return random.random()
