"""The manager's connection to the bus: there as soon as the server is, again whenever it was lost.

nats-py reconnects by itself while the server is merely away; when the server closes the connection for good (expired or
revoked credentials) a new client is built.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import nats.errors
from nats.aio.client import Client

from agent_manager.adapters.nats.credentials_file import CredentialsFile
from agent_manager.protocol import subjects

CONNECT_TIMEOUT_S = 2
RECONNECT_WAIT_S = 0.25
"""Pause between two attempts; spread by a random factor of up to two, so that a fleet does not return as one."""
PING_INTERVAL_S = 10

log = logging.getLogger(__name__)


def _unheeded() -> None:
    """Nobody counts errors."""


class BusConnection:
    """Keeps one client connected. `on_connected` subscribes; it is called anew for every client that is built.

    `on_up` is called when everything can be received, `on_down` when it no longer can: in turns, `on_up` first.
    `on_error` is called for every error, those of vain attempts included.
    """

    def __init__(
        self,
        *,
        url: str,
        credentials: Path,
        inbox_prefix: str,
        on_connected: Callable[[Client], Awaitable[None]],
        on_up: Callable[[], None],
        on_down: Callable[[], None],
        on_error: Callable[[], None] = _unheeded,
    ) -> None:
        self._url = url
        self._credentials = credentials
        self._inbox_prefix = inbox_prefix
        self._on_connected = on_connected
        self._on_up = on_up
        self._on_down = on_down
        self._on_error = on_error
        self._client: Client | None = None
        self._is_up = False
        self._last_trouble: str | None = None
        self._over = False

    @property
    def client(self) -> Client | None:
        """The client while it is connected and subscribed, else None."""
        return self._client if self._client is not None and self._client.is_connected else None

    async def run(self) -> None:
        """Stay connected, until `close`."""
        while not self._over:
            await self._use(Client())
            await asyncio.sleep(RECONNECT_WAIT_S)

    async def round_trip(self, timeout_s: float) -> bool:
        """Whether the server answers within `timeout_s`; False while there is no connection.

        A request, since what has been flushed in vain breaks nats-py when its PONG comes after all.
        """
        client = self.client
        if client is None:
            return False
        try:
            await client.request(subjects.MANAGER_PULSE, timeout=timeout_s)
        except nats.errors.NoRespondersError:
            return True
        except (nats.errors.Error, OSError):
            return False
        return True

    async def close(self) -> None:
        """Send what is buffered, as far as that is possible, and close for good."""
        self._over = True
        client = self.client
        if client is not None:
            with contextlib.suppress(nats.errors.Error, OSError):
                await client.flush(timeout=CONNECT_TIMEOUT_S)
            await client.close()

    async def _use(self, client: Client) -> None:
        closed = asyncio.Event()
        try:
            await self._connect(client, closed)
            await self._on_connected(client)
            self._client = client
            self._up(client)
            await closed.wait()
        except (nats.errors.Error, OSError) as error:
            self._trouble(error)
        finally:
            self._down()
            self._client = None
            await client.close()

    def _up(self, client: Client) -> None:
        """Connected: that counts once everything is subscribed, and if it has not been lost again meanwhile."""
        if client is self.client and not self._is_up:
            self._is_up = True
            self._last_trouble = None
            log.info("bus_connected", extra={"url": self._url})
            self._on_up()

    def _down(self) -> None:
        if self._is_up:
            self._is_up = False
            log.warning("bus_disconnected", extra={"url": self._url})
            self._on_down()

    def _trouble(self, error: Exception) -> None:
        """Attempts to connect that fail alike are one fact: it is said once."""
        self._on_error()
        words = str(error) or type(error).__name__
        if self._is_up or words != self._last_trouble:
            self._last_trouble = words
            log.warning("bus_error", extra={"url": self._url, "credentials": str(self._credentials), "error": words})

    async def _connect(self, client: Client, closed: asyncio.Event) -> None:
        credentials = CredentialsFile(self._credentials)

        async def on_error(error: Exception) -> None:
            self._trouble(error)

        async def on_disconnected() -> None:
            self._down()

        async def on_reconnected() -> None:
            self._up(client)

        async def on_closed() -> None:
            closed.set()

        await client.connect(
            servers=[self._url],
            user_jwt_cb=credentials.token,
            signature_cb=credentials.signature,
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
