"""What is said of a bus once the manager is connected."""

from __future__ import annotations

import logging

import nats.errors
from nats.aio.client import Client

from agent_manager.adapters.nats.embedded import MAX_PAYLOAD_BYTES
from agent_manager.nats_access.inspection import Finding, Needs, Weight, inspect_bus
from agent_manager.protocol import permissions

_LEVELS = {Weight.ERROR: logging.ERROR, Weight.WARNING: logging.WARNING, Weight.NOTE: logging.INFO}

log = logging.getLogger(__name__)


def needs_of_manager(*, embedded: bool) -> Needs:
    """What a manager wants of its bus. Only of an embedded server it knows how it writes to disk."""
    return Needs(
        payload_wanted=MAX_PAYLOAD_BYTES,
        publish=permissions.NEEDED_BY_MANAGER.publish,
        subscribe=permissions.NEEDED_BY_MANAGER.subscribe,
        replies=permissions.NEEDED_BY_MANAGER.replies,
        known_durable=embedded,
        limited="answers of agents and managers above it are refused, lists come in shorter pages",
    )


class BusCheck:
    """Looks at the bus after every connection, and says each finding once."""

    def __init__(self, *, embedded: bool) -> None:
        self._needs = needs_of_manager(embedded=embedded)
        self._said: set[Finding] = set()

    async def run(self, client: Client | None) -> None:
        """Inspect; a connection that is lost meanwhile is inspected when it is there again."""
        if client is None:
            return
        try:
            findings = await inspect_bus(client, self._needs)
        except (nats.errors.Error, OSError) as error:
            log.info("bus_not_inspected", extra={"error": str(error)})
            return
        for finding in findings:
            if finding not in self._said:
                self._said.add(finding)
                log.log(_LEVELS[finding.weight], finding.event, extra={"detail": finding.text})
