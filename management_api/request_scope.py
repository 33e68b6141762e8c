"""What surrounds every request: its trace and id, its span, its place in the metrics, its log line."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent_manager.protocol import headers, tracing
from agent_manager.telemetry.spans import Spans
from agent_manager.telemetry.structured import structlog
from management_api.event_stream import MEDIA_TYPE
from management_api.metrics import ApiMetrics

_READING = frozenset({"GET", "HEAD", "OPTIONS"})

_log = structlog.stdlib.get_logger(__name__)


class RequestScope:
    """ASGI middleware around the whole application, its answers to unexpected errors included."""

    def __init__(self, app: ASGIApp, *, metrics: ApiMetrics, spans: Spans) -> None:
        self._app = app
        self._metrics = metrics
        self._spans = spans

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, under a trace of its own or its caller's."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        attributes = {"http.request.method": scope["method"], "url.path": scope["path"]}
        with (
            tracing.bound(tracing.received(Headers(scope=scope))) as trace,
            self._spans.span(f"http {scope['method']}", attributes, server=True),
            self._metrics.in_progress(),
        ):
            answer = _Answer(send, trace.request_id)
            began = time.perf_counter()
            try:
                await self._app(scope, receive, answer.send)
            finally:
                self._answered(scope, answer, time.perf_counter() - began)

    def _answered(self, scope: Scope, answer: _Answer, seconds: float) -> None:
        route = _template(scope)
        method = scope["method"]
        self._metrics.answered(
            route=route, method=method, status=answer.status, seconds=seconds, stream=answer.is_stream
        )
        facts: dict[str, Any] = {
            "method": method,
            "path": scope["path"],
            "status": answer.status,
            "elapsed_ms": int(seconds * 1000),
        }
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            _log.warning("http_answered", **facts)
        elif answer.status >= HTTPStatus.BAD_REQUEST or method not in _READING:
            _log.info("http_answered", **facts)
        else:
            _log.debug("http_answered", **facts)


def _template(scope: Scope) -> str | None:
    """The route that answered, without the prefix that `/api/v1` and `/api` differ in; None where there was none."""
    path: str | None = getattr(scope.get("route"), "path", None)
    return path.removeprefix("/api").removeprefix("/v1") if path is not None else None


class _Answer:
    """An answer on its way out. `status` is 500 until it begins: the server says that of an answer that never does."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id
        self.status = int(HTTPStatus.INTERNAL_SERVER_ERROR)
        self.is_stream = False

    async def send(self, message: Message) -> None:
        """Send on, with the id of the request on it."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            answered = MutableHeaders(scope=message)
            answered[headers.REQUEST_ID] = self._request_id
            self.is_stream = answered.get("content-type", "").startswith(MEDIA_TYPE)
        await self._send(message)
