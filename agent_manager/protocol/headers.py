"""Headers of requests, over HTTP and on the bus."""

from __future__ import annotations

ACTOR = "Agent-Manager-Actor"
"""Who asked, for the audit trail. Believed on `agent.manager.api.…` only, where nobody but the API may publish."""

REQUEST_ID = "X-Request-Id"
"""What a person finds in an answer and in the log lines of everybody who worked on it."""
TRACEPARENT = "traceparent"
"""W3C Trace Context."""
TRACESTATE = "tracestate"
