"""Headers of requests, over HTTP and on the bus."""

from __future__ import annotations

ACTOR = "Agent-Manager-Actor"
"""Who asked, for the audit trail. Believed on `agent.manager.api.…` only, where nobody but the API may publish."""

REQUEST_ID = "X-Request-Id"
"""What a person finds in an answer and in the log lines of everybody who worked on it."""
TRACEPARENT = "traceparent"
"""W3C Trace Context."""
TRACESTATE = "tracestate"

_MAX_LENGTH = 200


def one_line(text: str) -> str:
    """Words as a header carries them to whatever shows it: in one line, printable, at most 200 characters."""
    return "".join(character if character.isprintable() else " " for character in " ".join(text.split())[:_MAX_LENGTH])
