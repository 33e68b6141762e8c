"""Server-sent events as bytes (WHATWG HTML standard, section 9.2)."""

from __future__ import annotations

from pydantic import BaseModel


def frame(event: str, data: BaseModel, *, event_id: str) -> bytes:
    """One event; its JSON has no line breaks."""
    return f"id: {event_id}\nevent: {event}\ndata: {data.model_dump_json()}\n\n".encode()


def mark(event_id: str) -> bytes:
    """Where to resume, although nothing has happened: no event is dispatched, its id is remembered."""
    return f"id: {event_id}\n\n".encode()
