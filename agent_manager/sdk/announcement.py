"""The agent as a NATS micro service (ADR-32), so that `nats micro ls`, `info` and `stats` show it.

The messages are those of `nats.micro`. Its `Service` is not used: its endpoints hide the reply subject of a request and
cannot be left without losing what is on its way.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from nats.aio.msg import Msg
from nats.micro.service import SEMVER_REGEX, ServiceInfo, ServicePing, ServiceStats, ServiceVerb, control_subject

from agent_manager.sdk.connection import Connection
from agent_manager.sdk.endpoints import Endpoint
from agent_manager.sdk.launch_environment import Identity


class Announcement:
    """Answers the discovery requests of ADR-32 for one launch."""

    def __init__(self, identity: Identity, connection: Connection, endpoints: Sequence[Endpoint]) -> None:
        self._connection = connection
        self._endpoints = endpoints
        self._started = datetime.now(UTC)
        self._service: dict[str, Any] = {
            "id": identity.launch_id,
            "name": identity.agent_id,
            "version": identity.version if SEMVER_REGEX.match(identity.version) else "0.0.0",
            "metadata": {
                "instance_id": identity.instance_id,
                "launch_id": identity.launch_id,
                "node_id": identity.node_id,
            },
        }

    async def begin(self) -> None:
        """Answer from now on. A server that does not allow it only keeps the agent out of `nats micro`."""
        answers: dict[ServiceVerb, Callable[[], dict[str, Any]]] = {
            ServiceVerb.PING: self._ping,
            ServiceVerb.INFO: self._info,
            ServiceVerb.STATS: self._stats,
        }
        name, service_id = self._service["name"], self._service["id"]
        for verb, answer in answers.items():
            for address in ((None, None), (name, None), (name, service_id)):
                await self._connection.subscribe(control_subject(verb, *address), self._answering(answer))

    def _answering(self, answer: Callable[[], dict[str, Any]]) -> Callable[[Msg], Awaitable[None]]:
        async def received(message: Msg) -> None:
            if message.reply:
                await self._connection.send(message.reply, json.dumps(answer()).encode())

        return received

    def _ping(self) -> dict[str, Any]:
        return ServicePing(**self._service).to_dict()

    def _info(self) -> dict[str, Any]:
        info = ServiceInfo(**self._service, description="", endpoints=[each.info for each in self._endpoints])
        return info.to_dict()

    def _stats(self) -> dict[str, Any]:
        stats = ServiceStats(**self._service, started=self._started, endpoints=[each.stats for each in self._endpoints])
        return stats.to_dict()
