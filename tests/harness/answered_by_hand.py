"""A client of the bus without a server: the test answers what is asked, in the very turn of the event loop it wants."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from nats.aio.msg import Msg

from agent_manager.nats_access.client import AccessClient

PATIENCE_S = 60.0


class AnsweredByHand(AccessClient):
    """Waits for answers as a connected client does; in no test one fails to come, so that all wait long enough."""

    def __init__(self) -> None:
        super().__init__(tls_wanted=False)
        self._resp_sub_prefix = bytearray(b"_INBOX.")
        # A flush is a ping only while somebody reads and writes.
        self._reading_task = self._flusher_task = cast("asyncio.Task[None]", asyncio.Future())
        self.asked: dict[str, str] = {}
        """Subjects of requests that have not been answered, and where the answers belong."""
        self.pinged: list[asyncio.Future[bool]] = []

    async def request(self, subject: str, *args: Any, **options: Any) -> Msg:
        """As the client's own."""
        return await super().request(subject, *args, **{**options, "timeout": PATIENCE_S})

    async def publish(self, subject: str, payload: bytes = b"", reply: str = "", headers: Any = None) -> None:
        """Nobody hears it."""
        self.asked[subject] = reply

    def answer(self, subject: str, data: bytes = b"") -> None:
        """Answer the request on that subject; one that has been given up hears nothing."""
        reply = self.asked.pop(subject)
        waiting = self._resp_map.get(reply.removeprefix("_INBOX."))
        if waiting is not None and not waiting.done():
            waiting.set_result(Msg(self, subject=reply, data=data))

    def pong(self) -> None:
        """Answer the flush."""
        self.pinged.pop().set_result(True)

    async def _send_ping(self, future: asyncio.Future[bool] | None = None) -> None:
        assert future is not None
        self.pinged.append(future)
