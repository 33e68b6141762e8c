"""An answer that does not end: server-sent events, for as long as both sides want."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager, suppress

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

MEDIA_TYPE = "text/event-stream"
KEEP_ALIVE = b": keep-alive\n\n"
LAST_WORDS_S = 0.5
"""How long a reader that does not read is given to take the end of the answer, in seconds."""


class OpenStreams:
    """Every stream that goes on: how many they are, and their common end."""

    def __init__(self) -> None:
        self.count = 0
        self.ending = asyncio.Event()

    def end(self) -> None:
        """End all of them."""
        self.ending.set()

    @contextmanager
    def another(self) -> Iterator[None]:
        """One more, for as long as this is entered."""
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1


class EventStream(Response):
    """Sends `frames` until they end, the reader leaves, or all `streams` end.

    The next frame is asked for when the last one has been taken: a slow reader is waited for, and holds up nobody. A
    comment follows every `keep_alive_s` of silence, so that intermediaries keep the connection and a dead one shows.
    """

    media_type = MEDIA_TYPE

    def __init__(self, frames: AsyncGenerator[bytes], *, streams: OpenStreams, keep_alive_s: float) -> None:
        super().__init__(headers={"Cache-Control": "no-store"})
        # Computed for the empty body; this one has no length.
        del self.headers["content-length"]
        self._frames = frames
        self._streams = streams
        self._keep_alive_s = keep_alive_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Carry the stream from its first byte to its last."""
        async with aclosing(self._frames):
            with self._streams.another():
                await self._carry(receive, send)
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _carry(self, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with asyncio.TaskGroup() as group:
            ends = [
                group.create_task(self._write(send), name="event-stream-write"),
                group.create_task(_disconnected(receive), name="event-stream-disconnected"),
                # Separately from writing, which may hang on a reader that does not read.
                group.create_task(self._streams.ending.wait(), name="event-stream-ending"),
            ]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for task in ends:
                task.cancel()

    async def _write(self, send: Send) -> None:
        chunk = b": connected\n\n"
        async with asyncio.TaskGroup() as group:
            coming = group.create_task(self._next(), name="event-stream-next")
            while chunk:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                if await _done_within(coming, self._keep_alive_s):
                    chunk = coming.result()
                    coming = group.create_task(self._next(), name="event-stream-next")
                else:
                    chunk = KEEP_ALIVE
            coming.cancel()

    async def _next(self) -> bytes:
        return await anext(self._frames, b"")


async def _done_within(task: asyncio.Task[bytes], timeout_s: float) -> bool:
    done, _ = await asyncio.wait((task,), timeout=timeout_s)
    return bool(done)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
