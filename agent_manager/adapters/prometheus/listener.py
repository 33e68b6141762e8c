"""`GET /metrics` on a small listener of its own, in a thread: a scrape holds up nobody."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server

RETRY_S = 10.0
"""Pause between two attempts to listen: the port may still be in use by somebody who ends."""

log = logging.getLogger(__name__)


class MetricsListener:
    """Serves `registry` on `host`:`port` while `run` runs; port 0 takes a free one. `address` says where."""

    def __init__(self, registry: CollectorRegistry, *, host: str, port: int) -> None:
        self._registry = registry
        self._host = host
        self._port = port
        self.address: str | None = None
        """The URL while it listens."""

    async def run(self) -> None:
        """Serve until cancelled. A port that cannot be had is said once, and tried again: nothing else waits for it."""
        said = False
        while True:
            try:
                async with self._listening():
                    await asyncio.Event().wait()
            except OSError as error:
                if not said:
                    log.error("metrics_not_served", extra={"host": self._host, "port": self._port, "error": str(error)})
                said = True
                await asyncio.sleep(RETRY_S)

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        server, thread = start_http_server(self._port, self._host, self._registry)
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.address = f"http://{host}:{server.server_port}/metrics"
        log.info("metrics_served", extra={"url": self.address})
        try:
            yield
        finally:
            self.address = None
            # Asks the thread to end and waits for it: half a second at most, which the loop must not spend.
            await asyncio.to_thread(_closed, server, thread)


def _closed(server: WSGIServer, thread: threading.Thread) -> None:
    server.shutdown()
    server.server_close()
    thread.join()
