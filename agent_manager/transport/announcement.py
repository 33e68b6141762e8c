"""The manager in `nats micro ls`, `info` and `stats`."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from agent_manager.protocol import subjects
from agent_manager.protocol.discovery import DiscoverableService

log = logging.getLogger(__name__)


async def announce(client: Client, service: DiscoverableService) -> None:
    """Answer the discovery requests of ADR-32 from now on."""
    for subject, answer in service.answers().items():
        await client.subscribe(subject, cb=_answering(client, answer))


def _answering(client: Client, answer: Callable[[], bytes]) -> Callable[[Msg], Awaitable[None]]:
    async def received(message: Msg) -> None:
        # The manager may publish anywhere: it must not do so in somebody else's place.
        if not message.reply.startswith(subjects.INBOX_PREFIX):
            return
        try:
            await client.publish(message.reply, answer())
        except nats.errors.Error as error:
            log.warning("not_answered", extra={"subject": message.subject, "error": str(error)})

    return received
