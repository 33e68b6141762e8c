"""An answer that does not end: server-sent events, for as long as both sides want."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from management_api.event_feed import EventFeed, Watcher

MEDIA_TYPE = "text/event-stream"
KEEP_ALIVE = b": keep-alive\n\n"
LAST_WORDS_S = 0.5
"""How long a reader that does not read is given to take the end of the answer, in seconds."""


class EventStream(Response):
    """Sends what the feed brings until the reader leaves, falls too far behind, or the feed is closed.

    A comment follows every `keep_alive_s` of silence, so that intermediaries keep the connection and a dead one shows.
    """

    media_type = MEDIA_TYPE

    def __init__(self, feed: EventFeed, *, agent_id: str | None, keep_alive_s: float) -> None:
        super().__init__(headers={"Cache-Control": "no-store"})
        # Computed for the empty body; this one has no length.
        del self.headers["content-length"]
        self._feed = feed
        self._agent_id = agent_id
        self._keep_alive_s = keep_alive_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Carry the stream from its first byte to its last."""
        with self._feed.watch(self._agent_id) as watcher:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async with asyncio.TaskGroup() as group:
                ends = [
                    group.create_task(self._write(watcher, send), name="event-stream-write"),
                    group.create_task(_disconnected(receive), name="event-stream-disconnected"),
                    # Separately from writing, which may hang on a reader that does not read.
                    group.create_task(watcher.ended.wait(), name="event-stream-ended"),
                ]
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                for task in ends:
                    task.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _write(self, watcher: Watcher, send: Send) -> None:
        chunk = b": connected\n\n"
        while chunk:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            try:
                async with asyncio.timeout(self._keep_alive_s):
                    chunk = await watcher.take()
            except TimeoutError:
                chunk = KEEP_ALIVE


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
