"""Live events, handed to everybody who watches; nobody's slowness costs anybody else, or memory without bound."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from pydantic import ValidationError

from agent_manager.protocol.messages import EventMessage
from agent_manager.protocol.subjects import parse_agent_event

_log = structlog.stdlib.get_logger(__name__)


class Watcher:
    """One reader's place in the feed: server-sent events not yet fetched, at most `backlog_bytes` of them."""

    def __init__(self, *, agent_id: str | None, backlog_bytes: int) -> None:
        self.agent_id = agent_id
        self.ended = asyncio.Event()
        """Set when no more will come, whether the feed was closed or this reader fell too far behind."""
        self._backlog_bytes = backlog_bytes
        self._frames: list[bytes] = []
        self._size = 0
        self._news = asyncio.Event()

    def offer(self, frame: bytes) -> None:
        """Add an event, or end the watching where the reader is too far behind."""
        if self.ended.is_set():
            return
        if self._frames and self._size + len(frame) > self._backlog_bytes:
            _log.warning("event_reader_too_slow", agent_id=self.agent_id, backlog_bytes=self._size)
            self._frames.clear()
            self.end()
            return
        self._frames.append(frame)
        self._size += len(frame)
        self._news.set()

    def end(self) -> None:
        """No more events."""
        self.ended.set()
        self._news.set()

    async def take(self) -> bytes:
        """Wait for events and return all there are, in order; empty once no more will come."""
        await self._news.wait()
        taken = b"".join(self._frames)
        self._frames.clear()
        self._size = 0
        if not self.ended.is_set():
            self._news.clear()
        return taken


class EventFeed:
    """Spreads events among the watchers."""

    def __init__(self, *, backlog_bytes: int) -> None:
        self._backlog_bytes = backlog_bytes
        self._watchers: set[Watcher] = set()
        self._closed = False

    @property
    def watchers(self) -> int:
        """How many are watching."""
        return len(self._watchers)

    @contextmanager
    def watch(self, agent_id: str | None = None) -> Iterator[Watcher]:
        """Watch every event, or those of one agent, from now on."""
        watcher = Watcher(agent_id=agent_id, backlog_bytes=self._backlog_bytes)
        self._watchers.add(watcher)
        if self._closed:
            watcher.end()
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)

    def publish(self, subject: str, body: bytes) -> None:
        """Hand out an event as it came from the bus. The subject decides whose it is and of which type."""
        parsed = parse_agent_event(subject)
        if parsed is None:
            _log.warning("event_subject_unknown", subject=subject)
            return
        agent_id, type_ = parsed
        wanted = [watcher for watcher in self._watchers if watcher.agent_id in (None, agent_id)]
        if not wanted:
            return
        try:
            message = EventMessage.model_validate_json(body)
        except ValidationError as error:
            _log.warning("event_unreadable", subject=subject, error=str(error))
            return
        frame = server_sent_event(message.model_copy(update={"agent_id": agent_id, "type": type_}))
        for watcher in wanted:
            watcher.offer(frame)

    def close(self) -> None:
        """End every watching, now and later."""
        self._closed = True
        for watcher in self._watchers:
            watcher.end()


def server_sent_event(message: EventMessage) -> bytes:
    """The event in the format of the WHATWG HTML standard, section 9.2; its JSON has no line breaks."""
    return f"id: {message.sequence}\nevent: {message.type}\ndata: {message.model_dump_json()}\n\n".encode()
