"""`/events`: what happens, while it happens."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Response

from agent_manager.protocol.messages import EventMessage
from management_api.event_stream import MEDIA_TYPE, EventStream
from management_api.openapi import problem_responses
from management_api.routes.parameters import AgentFilter, ApiSettings, Manager

router = APIRouter(tags=["events"])

_STREAM: dict[int | str, dict[str, Any]] = {
    HTTPStatus.OK.value: {
        "description": "Server-sent events: `id` the event's sequence, `event` its type, `data` this JSON on one line",
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
async def follow_events(manager: Manager, settings: ApiSettings, agent_id: AgentFilter = None) -> Response:
    """The live feed: nothing of the past, and nothing twice.

    A comment is sent during silence. A reader that falls too far behind is disconnected. What happens while the API has
    no connection to NATS is missing here.
    """
    manager.check_connected()
    return EventStream(manager.feed, agent_id=agent_id, keep_alive_s=settings.streams.keep_alive_s)
