"""Events as the bus carries them: whatever is in one, it has a body, or those after it would wait for ever."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from agent_manager.domain.events import Event
from agent_manager.protocol import subjects
from agent_manager.protocol.messages import EventMessage

_MESSAGE_KEPT = 1_000
"""Characters of the message of an event that is too large."""


def subject_of(event: Event) -> str:
    """Where an event is published; one whose names no subject can carry stands under a reserved agent id."""
    try:
        return subjects.agent_event(event.agent_id, event.type)
    except ValueError:
        return subjects.agent_event("event", "unnamed")


def encoded(event: Event, limit: int) -> bytes:
    """The JSON of an event, in at most `limit` bytes: what is larger loses its data, and the end of its message."""
    message = _message(event)
    body = _json(message)
    if len(body) <= limit:
        return body
    shortened = {"message": f"{message.message[:_MESSAGE_KEPT]}…", "data": {"omitted_bytes": len(body)}}
    return _json(message.model_copy(update=shortened))


def _message(event: Event) -> EventMessage:
    return EventMessage(
        sequence=event.number or 0,
        type=event.type,
        agent_id=event.agent_id,
        instance_id=event.instance_id,
        message=event.message,
        actor=event.actor,
        data=dict(event.data),
        at=datetime.fromtimestamp(event.at, UTC),
    )


def _json(message: EventMessage) -> bytes:
    try:
        return message.model_dump_json().encode()
    except ValueError:
        # Half a character (a lone surrogate), as in the name of a file that is not UTF-8.
        document = message.model_dump()
        document["at"] = message.at.isoformat()
        return json.dumps(document, ensure_ascii=False, default=str).encode("utf-8", "replace")
