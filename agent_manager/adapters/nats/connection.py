"""The manager's connection to the bus: there as soon as the server is, again whenever it was lost.

nats-py reconnects by itself while the server is merely away; when the server closes the connection for good (expired or
revoked credentials) a new client is built.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

import nats.errors
from nats.aio.client import Client

CONNECT_TIMEOUT_S = 2
RECONNECT_WAIT_S = 0.25
"""Pause between two attempts; spread by a random factor of up to two, so that a fleet does not return as one."""
PING_INTERVAL_S = 10

log = logging.getLogger(__name__)


class BusConnection:
    """Keeps one client connected. `on_connected` subscribes; it is called anew for every client that is built."""

    def __init__(
        self,
        *,
        url: str,
        credentials: str,
        inbox_prefix: str,
        on_connected: Callable[[Client], Awaitable[None]],
        on_up: Callable[[], None],
        on_down: Callable[[], None],
    ) -> None:
        self._url = url
        self._credentials = credentials
        self._inbox_prefix = inbox_prefix
        self._on_connected = on_connected
        self._on_up = on_up
        self._on_down = on_down
        self._client: Client | None = None

    @property
    def client(self) -> Client | None:
        """The client while it is connected, else None."""
        return self._client if self._client is not None and self._client.is_connected else None

    async def run(self) -> None:
        """Stay connected, for ever."""
        while True:
            closed = asyncio.Event()
            client = Client()
            try:
                await self._connect(client, closed)
                self._client = client
                await self._on_connected(client)
                self._on_up()
                log.info("bus_connected", extra={"url": self._url})
                await closed.wait()
            except (nats.errors.Error, OSError, TimeoutError) as error:
                log.error("bus_not_connected", extra={"url": self._url, "error": str(error) or type(error).__name__})
            finally:
                self._on_down()
                await client.close()
            await asyncio.sleep(RECONNECT_WAIT_S)

    async def close(self) -> None:
        """Send what is buffered and close."""
        client = self.client
        if client is not None:
            await client.flush(timeout=CONNECT_TIMEOUT_S)
            await client.close()

    async def _connect(self, client: Client, closed: asyncio.Event) -> None:
        async def on_error(error: Exception) -> None:
            log.warning("bus_error", extra={"error": str(error) or type(error).__name__})

        async def on_disconnected() -> None:
            self._on_down()
            log.warning("bus_disconnected", extra={"url": self._url})

        async def on_reconnected() -> None:
            self._on_up()
            log.info("bus_reconnected", extra={"url": self._url})

        async def on_closed() -> None:
            closed.set()

        await client.connect(
            servers=[self._url],
            user_credentials=self._credentials,
            inbox_prefix=self._inbox_prefix.encode(),
            name="agent-manager",
            connect_timeout=CONNECT_TIMEOUT_S,
            # Annotated as int, used as seconds for asyncio.sleep.
            reconnect_time_wait=RECONNECT_WAIT_S * (1 + random.random()),  # type: ignore[arg-type]
            max_reconnect_attempts=-1,
            ping_interval=PING_INTERVAL_S,
            max_outstanding_pings=2,
            error_cb=on_error,
            disconnected_cb=on_disconnected,
            reconnected_cb=on_reconnected,
            closed_cb=on_closed,
        )
