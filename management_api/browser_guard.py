"""Keeps web pages away from an API that trusts everybody who reaches it.

A page can make its visitor's browser send requests to loopback addresses. Two of its ways are closed here: a name of
its own that resolves to 127.0.0.1 (DNS rebinding: the Host header gives it away) and plain cross-site requests that
change something (the Origin header gives those away; reading is prevented by the browser, as no CORS header is sent).
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from agent_manager.protocol.errors import ErrorCode, RequestFailedError
from management_api.problems import problem_response

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class BrowserGuard:
    """ASGI middleware that answers 403 to requests for a foreign host, and to changes that another site asks for."""

    def __init__(self, app: ASGIApp, *, hosts: Collection[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
            return
        error = RequestFailedError(ErrorCode.FORBIDDEN, refusal)
        await problem_response(error, instance=scope["path"])(scope, receive, send)

    def _refusal(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if host_name(host) not in self._hosts:
            return f"the Host header says {host[:80]!r}; this API answers to {', '.join(sorted(self._hosts))} only"
        origin = headers.get("origin")
        if scope["method"] in _READING or origin is None or origin.lower() == f"{scope['scheme']}://{host.lower()}":
            return None
        return f"a page of {origin[:80]!r} may not change anything here"


def host_name(host: str) -> str | None:
    """The name or address in a Host header, in lower case and without port and brackets; None where there is none."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
