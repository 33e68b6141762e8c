"""One attempt to connect, with each server in turn and within bounds."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass
from typing import Any, Protocol

import nats.errors
from nats.aio.client import Client

from agent_manager.nats_access.access import Access
from agent_manager.nats_access.cancellation import heed_cancellation
from agent_manager.nats_access.client import AccessClient
from agent_manager.nats_access.pace import Pace
from agent_manager.nats_access.trouble import Trouble, diagnose

_CLOSE_S = 0.25


class NotConnectedError(Exception):
    """No server could be used; `troubles` says why, one for each."""

    code = "unavailable"
    retryable = True

    def __init__(self, troubles: tuple[Trouble, ...]) -> None:
        super().__init__("; ".join(str(each) for each in troubles))
        self.troubles = troubles


class Listener(Protocol):
    """What is told of a client once it has been connected."""

    async def failed(self, error: Exception) -> None:
        """The server or the client says that something is wrong."""

    async def disconnected(self) -> None:
        """The connection is gone."""

    async def reconnected(self) -> None:
        """It is there again, with all subscriptions."""

    async def closed(self) -> None:
        """It will not come back."""

    async def lame_duck(self) -> None:
        """The server is about to shut down and asks to go elsewhere."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """Who connects. With `reconnects` a client finds back by itself and keeps meanwhile what is sent; without, it is
    closed when the connection is lost.
    """

    name: str
    inbox_prefix: str
    reconnects: bool = True


async def dial(access: Access, caller: Caller, listener: Listener, pace: Pace) -> AccessClient:
    """A connected client. Raises NotConnectedError when no server took it, each within the time `pace` allows."""
    troubles = []
    for server in random.sample(access.servers, len(access.servers)):
        attempt = _Attempt(access, listener)
        try:
            return await attempt.connect(server, caller, pace)
        except (OSError, ValueError, nats.errors.Error) as error:
            troubles.append(diagnose(error, access, server))
    raise NotConnectedError(tuple(troubles))


async def dispose(client: Client) -> None:
    """Close a client of which nothing more is expected; a server that hangs does not hold this up."""
    with contextlib.suppress(OSError, nats.errors.Error):
        async with asyncio.timeout(_CLOSE_S):
            await client.close()


class _Attempt:
    """One client and its attempt with one server. The listener hears of it only once it is connected."""

    def __init__(self, access: Access, listener: Listener) -> None:
        self._access = access
        self._listener = listener
        self._client = AccessClient(tls_wanted=access.tls_wanted)
        self._connected = False

    async def connect(self, server: str, caller: Caller, pace: Pace) -> AccessClient:
        others = [each for each in self._access.servers if each != server]
        options = self._options(caller, pace)
        try:
            async with asyncio.timeout(pace.connect_timeout_s):
                await self._client.connect(servers=[server, *others], **options)
            heed_cancellation()
        except BaseException:
            await dispose(self._client)
            heed_cancellation()
            raise
        self._connected = True
        return self._client

    def _options(self, caller: Caller, pace: Pace) -> dict[str, Any]:
        return {
            **self._access.options(),
            "name": caller.name,
            "inbox_prefix": caller.inbox_prefix,
            "connect_timeout": pace.connect_timeout_s,
            "allow_reconnect": caller.reconnects,
            "max_reconnect_attempts": -1,
            # The server chosen here is tried first.
            "dont_randomize": True,
            "reconnect_time_wait": pace.first_retry_s,
            "reconnect_to_server_handler": pace.next_server,
            "ping_interval": pace.ping_interval_s,
            "error_cb": self._failed,
            "disconnected_cb": self._disconnected,
            "reconnected_cb": self._reconnected,
            "closed_cb": self._closed,
            "lame_duck_mode_cb": self._lame_duck,
        }

    async def _failed(self, error: Exception) -> None:
        if not self._connected:
            # nats-py's own first connect tries for ever and in silence; this ends it.
            raise error
        await self._listener.failed(error)

    async def _disconnected(self) -> None:
        if self._connected:
            await self._listener.disconnected()

    async def _reconnected(self) -> None:
        await self._listener.reconnected()

    async def _closed(self) -> None:
        if self._connected:
            await self._listener.closed()

    async def _lame_duck(self) -> None:
        await self._listener.lame_duck()
