"""Credentials are renewed long before they expire, for everything that runs."""

from __future__ import annotations

import asyncio
import logging

from agent_manager.ports.identities import Identities, LaunchName
from agent_manager.services.supervisor import Supervisor

LOOKS_PER_LIFETIME = 100
LONGEST_PAUSE_S = 60.0
"""A host may have been asleep meanwhile."""

log = logging.getLogger(__name__)


class Renewal:
    """Has whatever is due renewed, now and then. `lifetime_s` is how long new credentials live."""

    def __init__(self, identities: Identities, supervisor: Supervisor, *, lifetime_s: float) -> None:
        self._identities = identities
        self._supervisor = supervisor
        self._pause_s = min(lifetime_s / LOOKS_PER_LIFETIME, LONGEST_PAUSE_S)

    async def run(self) -> None:
        """Look at once, since nobody may have for long, and then for ever."""
        while True:
            self.look()
            await asyncio.sleep(self._pause_s)

    def look(self) -> None:
        """Renew what is due. What cannot be written is due still at the next look."""
        launches = [
            LaunchName(instance.agent_id, instance.id, instance.launch.launch_id, instance.launch.spec.run_as)
            for instance in self._supervisor.instances.values()
            if instance.launch is not None and instance.launch.pid is not None and not instance.launch.ended
        ]
        try:
            self._identities.renew(launches)
        except (OSError, ValueError) as error:
            log.error("credentials_not_renewed", extra={"error": str(error)})
