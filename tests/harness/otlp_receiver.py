"""A collector of spans: takes OTLP over HTTP, and says what came."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class SpanReceiver:
    """Keeps (service, span, trace id) of every span received; used by several threads."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._lock = threading.Lock()
        self._received: list[tuple[str, str, str]] = []

    def take(self, body: bytes) -> None:
        """A request of an exporter."""
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            attributes = {each.key: each.value.string_value for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                with self._lock:
                    self._received.extend(
                        (attributes["service.name"], span.name, span.trace_id.hex()) for span in scope.spans
                    )

    def of_trace(self, trace_id: str) -> set[tuple[str, str]]:
        """Service and name of every span of a trace."""
        with self._lock:
            return {(service, name) for service, name, trace in self._received if trace == trace_id}


@asynccontextmanager
async def receiving_spans() -> AsyncIterator[SpanReceiver]:
    """A receiver on a random port, in a thread."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            receiver.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name the base class has
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver = SpanReceiver(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, name="span receiver")
    thread.start()
    try:
        yield receiver
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()
        thread.join()
