"""`GET /metrics` on a small listener of its own, in a thread: a scrape holds up nobody, and no loop holds it up."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

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
                # Names are looked up, which may take a while.
                server = await asyncio.to_thread(self._server)
            except (OSError, UnicodeError) as error:
                if not said:
                    log.error("metrics_not_served", extra={"host": self._host, "port": self._port, "error": str(error)})
                said = True
                await asyncio.sleep(RETRY_S)
            else:
                with server, self._serving(server):
                    await asyncio.Event().wait()

    def _server(self) -> _Server:
        family = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)[0][0]
        server_class: type[_Server] = type("Server", (_Server,), {"address_family": family})
        return make_server(self._host, self._port, make_wsgi_app(self._registry), server_class, _Handler)

    @contextmanager
    def _serving(self, server: _Server) -> Iterator[None]:
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.address = f"http://{host}:{server.server_port}/metrics"
        log.info("metrics_served", extra={"url": self.address})
        thread = threading.Thread(target=server.serve, name="metrics", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.address = None
            server.end()
            thread.join()


class _Server(ThreadingWSGIServer):
    """Waits without waking; `serve_forever` would look twice a second whether it is over."""

    _ended = False

    def serve(self) -> None:
        """Take connections until `end`."""
        while not self._ended:
            self.handle_request()

    def end(self) -> None:
        """Let `serve` return: on Linux a listener that is shut down can be read from."""
        self._ended = True
        self.socket.shutdown(socket.SHUT_RDWR)


class _Handler(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """A scrape is no event."""
