"""Server-sent events as a test reads them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True, slots=True)
class Sent:
    """One event; `event` is empty for one that only says where to resume."""

    id: str
    event: str
    data: Any


class Reader:
    """Events in order; comments are passed over. `last_id` is what a browser would resume with."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines
        self.last_id = ""

    async def next(self) -> Sent:
        """The next event that tells something. Raises StopAsyncIteration at the end of the stream."""
        fields: dict[str, str] = {}
        async for line in self._lines:
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                fields[name] = value
            elif not line and fields:
                self.last_id = fields.get("id", self.last_id)
                if "data" in fields:
                    return Sent(self.last_id, fields.get("event", ""), json.loads(fields["data"]))
                fields = {}
        raise StopAsyncIteration

    async def until_marked(self) -> str:
        """Wait for an event that only says where to resume; returns that."""
        async for line in self._lines:
            if line.startswith("id: "):
                self.last_id = line.removeprefix("id: ")
                return self.last_id
        raise StopAsyncIteration

    async def rest(self) -> list[Sent]:
        """Everything up to the end of the stream."""
        events = []
        while True:
            try:
                events.append(await self.next())
            except StopAsyncIteration:
                return events


@asynccontextmanager
async def reading(http: httpx.AsyncClient, path: str, last_id: str = "", **params: Any) -> AsyncIterator[Reader]:
    """A stream of events below /api/v1."""
    headers = {"Last-Event-ID": last_id} if last_id else {}
    async with http.stream("GET", f"/api/v1{path}", params=params, headers=headers) as answer:
        if answer.status_code != 200:
            raise AssertionError((await answer.aread()).decode())
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert "content-length" not in answer.headers
        yield Reader(answer.aiter_lines())
