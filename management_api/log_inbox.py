"""Live lines on their way to one reader: at most so many bytes, and none that cannot be had otherwise."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from pydantic import ValidationError

from agent_manager.protocol import subjects
from agent_manager.protocol.messages import LogLines
from agent_manager.telemetry.structured import structlog

_log = structlog.stdlib.get_logger(__name__)


class LogInbox:
    """Subscriptions to the output of instances, on whichever client there is, and what came in.

    What is beyond `limit_bytes` is dropped: the reader sees by the numbers that something is missing, and asks for it.
    """

    def __init__(self, *, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._client: Client | None = None
        self._subscriptions: dict[str, Subscription] = {}
        self._messages: deque[tuple[LogLines, int]] = deque()
        self._size = 0
        self._news = asyncio.Event()

    async def listen(self, client: Client, instance_id: str) -> None:
        """Hear an instance from now on. Those heard through another client are forgotten: that one is closed."""
        if client is not self._client:
            self._client = client
            self._subscriptions.clear()
        if instance_id not in self._subscriptions:
            subject = subjects.instance_log_lines(instance_id)
            self._subscriptions[instance_id] = await client.subscribe(subject, cb=self._receive)

    async def close(self) -> None:
        """Hear nothing any more."""
        for subscription in self._subscriptions.values():
            if self._client is not None and self._client.is_connected:
                # A connection that is being replaced has left its subscriptions, and is there for a while yet.
                with suppress(nats.errors.Error):
                    await subscription.unsubscribe()
        self._subscriptions.clear()

    def take(self) -> LogLines | None:
        """The oldest message, None while there is none."""
        if not self._messages:
            return None
        message, size = self._messages.popleft()
        self._size -= size
        return message

    async def wait(self, timeout_s: float) -> None:
        """Return when there is a message, or `timeout_s` are over."""
        if self._messages or timeout_s <= 0:
            return
        self._news.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        except TimeoutError:
            return

    async def _receive(self, message: Msg) -> None:
        size = len(message.data)
        if self._messages and self._size + size > self._limit_bytes:
            return
        lines = _lines(message)
        if lines is None:
            return
        self._messages.append((lines, size))
        self._size += size
        self._news.set()


def _lines(message: Msg) -> LogLines | None:
    """What a message tells; its subject decides whose output it is."""
    told = subjects.parse_log_lines(message.subject)
    try:
        lines = LogLines.model_validate_json(message.data)
    except ValidationError as error:
        _log.warning("log_lines_unreadable", subject=message.subject, error=f"{error.error_count()} fields are wrong")
        return None
    # No byte takes less room in JSON: a reader that went on behind others would not be shown what they hold.
    if told is None or not 0 <= lines.end - lines.start <= len(message.data):
        _log.warning("log_lines_unreadable", subject=message.subject, error="it cannot hold the bytes it tells of")
        return None
    instance_id, stream = told
    return lines.model_copy(update={"instance_id": instance_id, "stream": stream})
