"""The agent as a NATS micro service (ADR-32), so that `nats micro ls`, `info` and `stats` show it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from nats.aio.msg import Msg

from agent_manager.protocol.discovery import DiscoverableService
from agent_manager.sdk.connection import Connection
from agent_manager.sdk.endpoints import Endpoint
from agent_manager.sdk.launch_environment import Identity


class Announcement:
    """Answers the discovery requests of ADR-32 for one launch."""

    def __init__(self, identity: Identity, connection: Connection, endpoints: Sequence[Endpoint]) -> None:
        self._connection = connection
        self._service = DiscoverableService(
            name=identity.agent_id,
            service_id=identity.launch_id,
            version=identity.version,
            metadata={
                "instance_id": identity.instance_id,
                "launch_id": identity.launch_id,
                "node_id": identity.node_id,
            },
            endpoints=endpoints,
        )

    async def begin(self) -> None:
        """Answer from now on. A server that does not allow it only keeps the agent out of `nats micro`."""
        for subject, answer in self._service.answers().items():
            await self._connection.subscribe(subject, self._answering(answer))

    def _answering(self, answer: Callable[[], bytes]) -> Callable[[Msg], Awaitable[None]]:
        async def received(message: Msg) -> None:
            if message.reply:
                await self._connection.answer(message, message.reply, answer())

        return received
