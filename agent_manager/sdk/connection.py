"""The connection to NATS: made and made again for as long as it takes, given up only when the server says so."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import nats.errors
from nats.aio.client import Client, Server
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from agent_manager.protocol import subjects, tracing
from agent_manager.sdk.ending import Ending, ExitCode
from agent_manager.sdk.errors import describe
from agent_manager.sdk.launch_environment import LaunchSettings

PING_INTERVAL_S = 10
"""A dead connection is noticed after three of these."""
CONNECT_TIMEOUT_S = 2
FLUSH_TIMEOUT_S = 1

_log = logging.getLogger(__name__)


def retry_delay_s(failures: int) -> float:
    """Seconds to wait after that many failures in a row: 0.1 doubled each time up to 5, less a random half."""
    return random.uniform(0.5, 1.0) * min(5.0, 0.1 * 2.0 ** min(failures, 10))


class Connection:
    """One launch's connection, to be entered; `open` makes it. Ends the agent when the server closes it for good."""

    def __init__(self, settings: LaunchSettings, ending: Ending) -> None:
        self._settings = settings
        self._ending = ending
        self._client: Client | None = None
        self._on_reconnected: Callable[[], Awaitable[None]] | None = None
        self._where = ", ".join(urlsplit(url).netloc.rpartition("@")[2] for url in settings.servers)

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        client = self._client
        if client is None:
            return
        try:
            if client.is_connected:
                await client.flush(FLUSH_TIMEOUT_S)
            # Writes what is buffered, and so fails when the server is away.
            await client.close()
        except (nats.errors.Error, OSError) as failure:
            _log.warning("the last messages may not have reached NATS: %s", describe(failure))

    @property
    def is_connected(self) -> bool:
        """Whether what is sent now goes out now."""
        return self._client is not None and self._client.is_connected

    @property
    def max_payload(self) -> int:
        """The largest body the server takes, in bytes."""
        return self._opened.max_payload

    def on_reconnected(self, action: Callable[[], Awaitable[None]]) -> None:
        """Call `action` whenever the connection is there again."""
        self._on_reconnected = action

    async def open(self) -> None:
        """Connect; tries until it works."""
        failures = 0
        while True:
            try:
                self._client = await self._attempt()
            except Exception as error:  # nats-py and nkeys raise errors of many families, none of which is final here
                delay_s = retry_delay_s(failures)
                failures += 1
                _log.warning(
                    "cannot connect to NATS at %s: %s; trying again in %.1f s", self._where, describe(error), delay_s
                )
                await asyncio.sleep(delay_s)
            else:
                _log.info("connected to NATS at %s as %s", self._where, self._settings.identity.instance_id)
                return

    async def send(self, subject: str, payload: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Publish. What cannot be sent is logged and lost: nobody on this side could do anything about it."""
        try:
            await self._opened.publish(subject, payload, headers={**tracing.carried(), **(headers or {})} or None)
        except nats.errors.Error as error:
            _log.warning("could not publish on %s: %s", subject, describe(error))

    async def subscribe(
        self, subject: str, received: Callable[[Msg], Awaitable[None]], *, queue: str = ""
    ) -> Subscription:
        """Subscribe, over reconnections too. Raises ConnectionClosedError when the server has closed it for good."""
        try:
            return await self._opened.subscribe(subject, queue=queue, cb=received)
        except nats.errors.ConnectionClosedError as error:
            self._lost(error)
            raise

    @property
    def _opened(self) -> Client:
        if self._client is None:
            raise RuntimeError("the connection has not been opened yet")
        return self._client

    async def _attempt(self) -> Client:
        client = Client()
        try:
            await client.connect(servers=list(self._settings.servers), **self._options())
        except BaseException:
            await client.close()
            raise
        return client

    def _options(self) -> dict[str, Any]:
        identity, credentials = self._settings.identity, self._settings.credentials
        return {
            "name": identity.instance_id,
            "user_credentials": str(credentials) if credentials else None,
            "inbox_prefix": subjects.inbox_prefix(identity.instance_id, identity.launch_id),
            "connect_timeout": CONNECT_TIMEOUT_S,
            "max_reconnect_attempts": -1,
            "reconnect_to_server_handler": _next_server,
            "ping_interval": PING_INTERVAL_S,
            "error_cb": self._failed,
            "disconnected_cb": self._disconnected,
            "reconnected_cb": self._reconnected,
            "closed_cb": self._closed,
        }

    async def _failed(self, error: Exception) -> None:
        if self._client is None:
            # nats-py's own first connect tries for ever and in silence; this ends it.
            raise error
        if self._ending.reached:
            return
        _log.warning("NATS: %s", describe(error))
        if not self._client.is_connected and "authorization violation" in str(error).lower():
            # Reconnecting with the same credentials will not work any more.
            self._lost(error)

    async def _disconnected(self) -> None:
        if self._client is not None and not self._ending.reached:
            _log.warning("the connection to NATS at %s is gone; reconnecting", self._where)

    async def _reconnected(self) -> None:
        _log.info("connected to NATS again")
        if self._on_reconnected is not None:
            await self._on_reconnected()

    async def _closed(self) -> None:
        if self._client is not None and not self._ending.reached:
            self._lost(self._client.last_error)

    def _lost(self, error: Exception | None) -> None:
        reason = describe(error) if error else "no reason given"
        _log.error("NATS will not have this launch any more (%s); ending, so that another one can begin", reason)
        self._ending.give(ExitCode.CONNECTION_LOST)


def _next_server(servers: list[Server], info: dict[str, Any]) -> tuple[Server, float]:
    """nats-py's choice of where to reconnect and after how long: its own waits without jitter."""
    server = min(servers, key=lambda each: (each.reconnects, random.random()))
    return server, retry_delay_s(server.reconnects)
