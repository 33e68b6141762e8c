"""The live feed: status changes and reports, published as they come."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime

import nats.errors
from nats.aio.client import Client

from agent_manager.domain.events import Event
from agent_manager.domain.instances import Instance
from agent_manager.protocol import subjects
from agent_manager.protocol.messages import Message, StatusUpdate

MAX_WAITING = 10_000
"""Messages kept while they cannot be sent; beyond it new ones are dropped."""

log = logging.getLogger(__name__)


class Feed:
    """Implements `ports.bus.Announcer`. `run` is the one task that sends, so that order is kept and nobody waits."""

    def __init__(self, client: Callable[[], Client | None], *, on_event: Callable[[], None]) -> None:
        """`client` is the connected client, None while there is none; `on_event` hears of each committed event."""
        self._client = client
        self._on_event = on_event
        self._waiting: asyncio.Queue[tuple[str, Message]] = asyncio.Queue(MAX_WAITING)
        self._dropped = 0
        self._unsent = 0

    @property
    def waiting(self) -> int:
        """How many messages wait to be sent."""
        return self._waiting.qsize()

    @property
    def dropped(self) -> int:
        """How many messages were not sent: too many waited, or the bus was away."""
        return self._dropped + self._unsent

    def event(self, event: Event) -> None:
        """See the port."""
        self._on_event()

    def status(self, instance: Instance) -> None:
        """See the port."""
        metadata = {"reason": instance.reason, "incarnation": instance.incarnation, "restarts": instance.restarts}
        message = StatusUpdate(
            agent_id=instance.agent_id,
            instance_id=instance.id,
            status=instance.status.value,
            metadata=metadata,
            timestamp=datetime.fromtimestamp(instance.since_wall, UTC),
        )
        self._put(subjects.STATUS_FEED, message)

    def publish(self, subject: str, message: Message) -> None:
        """Anything else that observers may want."""
        self._put(subject, message)

    async def run(self) -> None:
        """Send, for ever."""
        while True:
            subject, message = await self._waiting.get()
            try:
                await self._send(subject, message)
            finally:
                self._waiting.task_done()

    async def sent(self) -> None:
        """Wait until everything put so far has been handed to the client or dropped."""
        await self._waiting.join()

    async def _send(self, subject: str, message: Message) -> None:
        client = self._client()
        if client is None:
            self._unsent += 1
            return
        try:
            await client.publish(subject, message.model_dump_json().encode())
        except (nats.errors.Error, ValueError) as error:
            self._unsent += 1
            log.warning("not_published", extra={"subject": subject, "error": str(error)})

    def _put(self, subject: str, message: Message) -> None:
        try:
            self._waiting.put_nowait((subject, message))
        except asyncio.QueueFull:
            self._dropped += 1
            if self._dropped % MAX_WAITING == 1:
                log.warning("feed_overflow", extra={"dropped": self._dropped})
