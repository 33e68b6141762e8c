"""nats-py's client with six things it lacks: insisting on TLS, leaving in order, flushes that overtake nothing,
outliving what nobody can read, repeating what the server says as it says it, and heeding every cancellation.

All but the last need its inner side: it sends its credentials unprotected to a server that offers no TLS, whatever the
address says, can withdraw its subscriptions only by closing, lets a flush overtake what was written before it (so that
a subscription that was drained lost the messages that came after the answer), writes refused subjects in lower case,
and stops to read, connected as before, at the first message whose subject, reply subject or headers are malformed,
which servers let through, and at the answer to a flush that was given up.
"""

from __future__ import annotations

import asyncio
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from agent_manager.nats_access.cancellation import heeding_cancellation
from agent_manager.nats_access.errors import NotNatsError, UnreadableMessageError
from agent_manager.nats_access.framing import FramingParser


class AccessClient(Client):
    """A client. With `tls_wanted`, `connect` raises SecureConnWantedError instead of going on unprotected."""

    def __init__(self, *, tls_wanted: bool) -> None:
        super().__init__()
        self._tls_wanted = tls_wanted
        self._ps = self._framing = FramingParser(self)

    @property
    def server(self) -> str:
        """Host and port of the server it is connected to, or was last."""
        url = self.connected_url
        return url.netloc if url is not None else ""

    async def request(self, *args: Any, **options: Any) -> Msg:
        """As the client's own; a cancellation that meets the answer counts."""
        with heeding_cancellation():
            return await super().request(*args, **options)

    async def flush(self, *args: Any, **options: Any) -> None:
        """As the client's own; a cancellation that meets the answer counts."""
        with heeding_cancellation():
            await super().flush(*args, **options)

    async def withdraw(self) -> None:
        """Receive no more requests, and finish taking those that are on their way; answers can still be sent."""
        inbox = self._inbox_prefix.decode()
        for subscription in list(self._subs.values()):
            if subscription.subject.startswith(inbox):
                continue
            try:
                await subscription.drain()  # type: ignore[no-untyped-call]
            except nats.errors.BadSubscriptionError:
                continue  # left before

    async def _process_connect_init(self) -> None:
        """What another program says first ends the attempt, and not the task that makes it."""
        try:
            await super()._process_connect_init()
        except OSError:
            # Among them errors of certificates, which are ValueErrors too.
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # nats-py would look into it at its next attempt, and never get further.
            self._server_info = {}
            if self._transport is not None:
                self._transport.close()  # type: ignore[no-untyped-call]
            raise NotNatsError from error

    def _connect_command(self) -> bytes:
        if self._tls_wanted and not self._server_info.get("tls_required"):
            raise nats.errors.SecureConnWantedError
        return super()._connect_command()

    async def _process_err(self, err_msg: str) -> None:
        """With the subjects in it as the server writes them, which nats-py's parser changes."""
        kind, quote, _ = err_msg.partition('"')
        subject = self._framing.line.decode(errors="replace").rstrip().partition('"')[2]
        await super()._process_err(f"{kind}{quote}{subject}" if quote else err_msg)

    async def _send_ping(self, future: asyncio.Future[bool] | None = None) -> None:
        """After all that was to be sent before it: the answer says that the server has it."""
        if self.is_connected and self._transport is not None:
            self._transport.writelines(self._pending)
            self._pending, self._pending_data_size = [], 0
        await super()._send_ping(future)

    async def _process_pong(self) -> None:
        """A flush that was given up is answered all the same, and nobody waits for that."""
        if self._pongs and self._pongs[0].done():
            self._pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        """A message whose subject or reply subject is no text is nobody's, and cannot be answered: it is lost."""
        if _is_text(subject) and _is_text(reply):
            await super()._process_msg(sid, subject, reply, data, headers)
        else:
            await self._error_cb(UnreadableMessageError())

    async def _process_headers(self, headers: bytes) -> dict[str, str] | None:
        """None for headers that are none: what they would have said is made anew, and the message is taken."""
        try:
            return await super()._process_headers(headers)
        except (IndexError, UnicodeDecodeError):
            return None


def _is_text(subject: bytes) -> bool:
    try:
        subject.decode()
    except UnicodeDecodeError:
        return False
    return True
