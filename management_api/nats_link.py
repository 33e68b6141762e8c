"""The API's one connection to the bus, kept up for as long as the program runs.

The client library's own reconnecting is switched off: it buffers requests while disconnected and delivers them long
after the caller has given up, and it never recovers from expired credentials. A new connection reads them afresh.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from agent_manager.protocol import subjects

RETRY_S = 0.5
"""Between two attempts to connect, in seconds."""
PING_INTERVAL_S = 10
CONNECT_TIMEOUT_S = 2

_log = structlog.stdlib.get_logger(__name__)


class NatsLink:
    """Connects, subscribes to the event feed, and does both again whenever the connection is lost.

    `on_event` receives subject and body of each event; `on_lost` is called when a connection that was up is gone.
    Neither may block.
    """

    def __init__(
        self,
        *,
        url: str,
        credentials: Path | None,
        on_event: Callable[[str, bytes], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._url = url
        self._credentials = credentials
        self._on_event = on_event
        self._on_lost = on_lost
        self._client: Client | None = None
        self._reported: set[str] = set()

    @property
    def client(self) -> Client | None:
        """The connected client, None while there is none."""
        return self._client if self._client is not None and self._client.is_connected else None

    @property
    def server(self) -> str:
        """Host and port of the bus, without the user and password a URL may carry."""
        return urlsplit(self._url if "//" in self._url else f"//{self._url}").netloc.rpartition("@")[2]

    async def run(self) -> None:
        """Stay connected until cancelled."""
        while True:
            try:
                await self._connected_once()
            except (OSError, ValueError, nats.errors.Error) as fault:
                # Whatever is wrong (no server, no or bad credentials) may be mended while this program runs.
                self._report(fault)
            await asyncio.sleep(RETRY_S)

    async def _connected_once(self) -> None:
        client, closed = Client(), asyncio.Event()
        try:
            await self._connect(client, closed)
            for events in subjects.EVENT_STREAM_SUBJECTS:
                await client.subscribe(events, cb=self._receive)
            await client.flush(CONNECT_TIMEOUT_S)
            self._client = client
            self._reported.clear()
            _log.info("nats_connected", server=self.server)
            await closed.wait()
            _log.warning("nats_disconnected", server=self.server, error=str(client.last_error or ""))
        finally:
            if self._client is client:
                self._client = None
                self._on_lost()
            await client.close()

    async def _connect(self, client: Client, closed: asyncio.Event) -> None:
        async def on_closed() -> None:
            closed.set()

        await client.connect(
            self._url,
            name="management-api",
            inbox_prefix=subjects.API_INBOX_PREFIX,
            user_credentials=str(self._credentials) if self._credentials is not None else None,
            allow_reconnect=False,
            # With -1 and 0 the library would go on for ever by itself, telling nobody.
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=CONNECT_TIMEOUT_S,
            ping_interval=PING_INTERVAL_S,
            error_cb=self._on_error,
            closed_cb=on_closed,
        )

    async def _receive(self, message: Msg) -> None:
        self._on_event(message.subject, message.data)

    async def _on_error(self, error: Exception) -> None:
        if self._client is None:
            self._report(error)
        else:
            _log.warning("nats_error", server=self.server, error=str(error) or type(error).__name__)

    def _report(self, fault: Exception) -> None:
        """One line for each new fault, not for each attempt."""
        words = str(fault) or type(fault).__name__
        if words not in self._reported:
            self._reported.add(words)
            _log.warning("nats_unreachable", server=self.server, error=words, retry_s=RETRY_S)
