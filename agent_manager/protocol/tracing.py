"""Which request something belongs to: W3C Trace Context (https://www.w3.org/TR/trace-context/) and a request id.

Both travel in headers, over HTTP and NATS alike. What a caller sends is believed as far as it is well formed, and made
anew where it is not: it names log lines and traces, and decides nothing.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

from agent_manager.protocol import headers

_TRACEPARENT = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})"
)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._~:/+=@-]{1,128}")
_TRACESTATE = re.compile(r"[\x20-\x7e]{1,512}")
_SAMPLED = "01"
"""What is made here may be recorded by whoever is asked next; `00` would forbid it to them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trace:
    """The place of this moment: ids in lower-case hex, 32 digits for the trace and 16 for the span."""

    trace_id: str
    span_id: str
    request_id: str
    flags: str = _SAMPLED
    state: str = ""
    """`tracestate`, passed on as it came."""

    @property
    def traceparent(self) -> str:
        """The header, version 00."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


_current: ContextVar[Trace | None] = ContextVar("agent_manager_trace", default=None)


def current() -> Trace | None:
    """What this task or thread works for; None where nobody asked for anything."""
    return _current.get()


@contextmanager
def bound(trace: Trace) -> Iterator[Trace]:
    """Work for `trace` inside: log lines name it, requests carry it."""
    token = _current.set(trace)
    try:
        yield trace
    finally:
        _current.reset(token)


def received(carried: Mapping[str, str] | None) -> Trace:
    """The trace that the headers of a request carry, else a new one; names of headers in any case."""
    found = {name.lower(): value for name, value in (carried or {}).items()}
    request_id = found.get(headers.REQUEST_ID.lower(), "")
    if not _REQUEST_ID.fullmatch(request_id):
        request_id = secrets.token_hex(16)
    parent = _parsed(found.get(headers.TRACEPARENT, ""))
    if parent is None:
        return Trace(trace_id=secrets.token_hex(16), span_id=secrets.token_hex(8), request_id=request_id)
    state = found.get(headers.TRACESTATE, "")
    trace_id, span_id, flags = parent
    return Trace(
        trace_id=trace_id,
        span_id=span_id,
        request_id=request_id,
        flags=flags,
        state=state if _TRACESTATE.fullmatch(state) else "",
    )


def rename(request_id: str | None) -> None:
    """Go on under the id that the present request has in its own body, where it has one that can be."""
    trace = _current.get()
    if trace is not None and request_id is not None and _REQUEST_ID.fullmatch(request_id):
        _current.set(replace(trace, request_id=request_id))


def names_request(carried: Mapping[str, str] | None) -> bool:
    """Whether the headers of a request say which one it is."""
    return any(name.lower() == headers.REQUEST_ID.lower() for name in carried or {})


def carried() -> dict[str, str]:
    """The headers that let the next one work for the same trace; empty where there is none."""
    trace = _current.get()
    if trace is None:
        return {}
    state = {headers.TRACESTATE: trace.state} if trace.state else {}
    return {headers.TRACEPARENT: trace.traceparent, headers.REQUEST_ID: trace.request_id, **state}


def log_fields() -> dict[str, str]:
    """What a log line says of the present trace."""
    trace = _current.get()
    return {} if trace is None else {"request_id": trace.request_id, "trace_id": trace.trace_id}


def _parsed(traceparent: str) -> tuple[str, str, str] | None:
    """Trace id, span id and flags; None for what is malformed (section 3.2.2 of the standard)."""
    match = _TRACEPARENT.match(traceparent.strip())
    if match is None or match["version"] == "ff":
        return None
    rest = traceparent.strip()[match.end() :]
    # A later version may add fields behind a dash; version 00 has none.
    if rest and (match["version"] == "00" or not rest.startswith("-")):
        return None
    if set(match["trace"]) == {"0"} or set(match["span"]) == {"0"}:
        return None
    return match["trace"], match["span"], match["flags"]
