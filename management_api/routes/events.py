"""`/events`: what has happened since, and what happens."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Response

from agent_manager.protocol.errors import ErrorCode, RequestFailedError
from agent_manager.protocol.messages import EventMessage
from management_api.event_feed import EventFilter
from management_api.event_follower import EventFollower
from management_api.event_stream import MEDIA_TYPE, EventStream
from management_api.openapi import problem_responses
from management_api.routes.parameters import AgentFilter, ApiSettings, EventType, LastEventId, Manager

MAX_DIGITS = 18
"""Of a sequence: fewer than what a stream can count to."""

router = APIRouter(tags=["events"])

_STREAM: dict[int | str, dict[str, Any]] = {
    HTTPStatus.OK.value: {
        "description": "Server-sent events: `id` the sequence, `event` the type (or `gap`), `data` this JSON",
        "content": {MEDIA_TYPE: {"schema": EventMessage.model_json_schema()}},
    }
}
_PROBLEMS = problem_responses(
    {HTTPStatus.BAD_REQUEST: "A parameter is wrong", HTTPStatus.SERVICE_UNAVAILABLE: "No NATS; try again"}
)


@router.get(
    "/events",
    summary="Events as they happen",
    operation_id="events_follow",
    status_code=HTTPStatus.OK,
    response_class=EventStream,
    responses={**_STREAM, **_PROBLEMS},
)
async def follow_events(
    manager: Manager,
    settings: ApiSettings,
    agent_id: AgentFilter = None,
    type_: EventType = None,
    last_event_id: LastEventId = None,
) -> Response:
    """What happens from now on or, with `Last-Event-ID`, after that event: in order, and nothing twice.

    Where events are gone, an event `gap` says how many. A comment is sent during silence.
    """
    follower = EventFollower(manager, EventFilter(agent_id=agent_id, type=type_), after=_sequence(last_event_id))
    await follower.begin()
    return EventStream(follower.frames(), streams=manager.streams, keep_alive_s=settings.streams.keep_alive_s)


def _sequence(last_event_id: str | None) -> int | None:
    if not last_event_id:
        return None
    if not (last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) <= MAX_DIGITS):
        raise RequestFailedError(
            ErrorCode.INVALID_REQUEST,
            f"Last-Event-ID {last_event_id[:80]!r} is no sequence; leave it out to begin with the next event",
        )
    return int(last_event_id)
