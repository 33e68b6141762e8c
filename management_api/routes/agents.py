"""`/agents`: what they are, what they do, and whether they should run."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, cast

from fastapi import APIRouter, Query, Response

from agent_manager.protocol import operations
from agent_manager.protocol.errors import ErrorCode, RequestFailedError
from agent_manager.protocol.messages import LogLines, Message
from agent_manager.protocol.operations import MAX_WAIT_S, ChangeParams, LogsParams, Operation, PageParams
from agent_manager.protocol.resources import ChangeResult
from management_api import log_positions
from management_api.event_stream import MEDIA_TYPE, EventStream
from management_api.log_follower import LogFollower, Wish
from management_api.log_positions import Position
from management_api.manager_client import ManagerClient
from management_api.openapi import described
from management_api.routes.parameters import AgentId, ApiSettings, LastEventId, Manager

router = APIRouter(tags=["agents"])

WaitS = Annotated[
    float,
    Query(
        alias="wait",
        ge=0,
        le=MAX_WAIT_S,
        allow_inf_nan=False,
        description="Seconds to hold the answer until it is done; 0 answers once the wish is committed",
    ),
]


def _described_change(operation: Operation) -> dict[str, Any]:
    arguments = described(operation)
    accepted = {"model": operation.result, "description": "Accepted and committed, not done yet"}
    return {
        **arguments,
        "response_description": "Done",
        "responses": {HTTPStatus.ACCEPTED.value: accepted, **arguments["responses"]},
    }


def _described_logs() -> dict[str, Any]:
    arguments = described(operations.AGENTS_LOGS)
    lines = {
        "description": "The last lines; with `follow`, server-sent events: `lines` with this JSON, `gap`, `end`",
        "content": {MEDIA_TYPE: {"schema": LogLines.model_json_schema()}},
    }
    return {**arguments, "responses": {HTTPStatus.OK.value: lines, **arguments["responses"]}}


@router.get("/agents", **described(operations.AGENTS_LIST))
async def list_agents(manager: Manager, page: Annotated[PageParams, Query()]) -> Message:
    """A page of agents in order of id. `next_page_token`, where there is one, is the next request's `page_token`."""
    return await manager.call(operations.AGENTS_LIST, params=page)


@router.get("/agents/{agent_id}", **described(operations.AGENTS_GET))
async def get_agent(manager: Manager, agent_id: AgentId) -> Message:
    """What its user wants of it, what is observed of its instances, and what follows."""
    return await manager.call(operations.AGENTS_GET, agent_id=agent_id)


@router.post("/agents/{agent_id}/start", **_described_change(operations.AGENTS_START))
async def start_agent(manager: Manager, agent_id: AgentId, response: Response, wait_s: WaitS = 0.0) -> Message:
    """Done when every instance is running. An agent that should run already and gave up is tried again."""
    return await _change(manager, operations.AGENTS_START, agent_id, response, wait_s)


@router.post("/agents/{agent_id}/stop", **_described_change(operations.AGENTS_STOP))
async def stop_agent(manager: Manager, agent_id: AgentId, response: Response, wait_s: WaitS = 0.0) -> Message:
    """Done when no process of the agent is left."""
    return await _change(manager, operations.AGENTS_STOP, agent_id, response, wait_s)


@router.post("/agents/{agent_id}/restart", **_described_change(operations.AGENTS_RESTART))
async def restart_agent(manager: Manager, agent_id: AgentId, response: Response, wait_s: WaitS = 0.0) -> Message:
    """Done when every instance runs in a new process. A stopped agent is started."""
    return await _change(manager, operations.AGENTS_RESTART, agent_id, response, wait_s)


@router.get("/agents/{agent_id}/status", **described(operations.AGENTS_STATUS))
async def agent_status(manager: Manager, agent_id: AgentId) -> Message:
    """The short form of an agent."""
    return await manager.call(operations.AGENTS_STATUS, agent_id=agent_id)


@router.get("/agents/{agent_id}/metrics", **described(operations.AGENTS_METRICS))
async def agent_metrics(manager: Manager, agent_id: AgentId) -> Message:
    """What each instance uses at this moment, and the counters it reported itself."""
    return await manager.call(operations.AGENTS_METRICS, agent_id=agent_id)


class LogsQuery(LogsParams):
    """What may be asked of output, and that it be followed."""

    follow: bool = False
    """Go on with what is written from then on, as server-sent events."""
    until_stopped: bool = False
    """End the stream when the agent has stopped."""


@router.get("/agents/{agent_id}/logs", **_described_logs())
async def agent_logs(
    manager: Manager,
    settings: ApiSettings,
    agent_id: AgentId,
    logs: Annotated[LogsQuery, Query()],
    last_event_id: LastEventId = None,
) -> Message | Response:
    """The last lines of standard output and standard error of each instance, and with `follow` whatever comes then.

    A stream goes on over restarts of agent and manager. `Last-Event-ID` goes on where another stream ended: nothing is
    lost or repeated as long as the files are there, and what they no longer hold is told in an event `gap`.
    """
    if not logs.follow:
        params = LogsParams(tail=logs.tail, instance_id=logs.instance_id)
        return await manager.call(operations.AGENTS_LOGS, agent_id=agent_id, params=params)
    wish = Wish(
        agent_id=agent_id,
        instance_id=logs.instance_id,
        tail=logs.tail,
        positions=_positions(last_event_id),
        until_stopped=logs.until_stopped,
    )
    follower = LogFollower(manager, wish, backlog_bytes=settings.streams.backlog_bytes)
    await follower.check()
    return EventStream(follower.frames(), streams=manager.streams, keep_alive_s=settings.streams.keep_alive_s)


def _positions(last_event_id: str | None) -> dict[int, Position] | None:
    if not last_event_id:
        return None
    positions = log_positions.parse(last_event_id)
    if positions is None:
        raise RequestFailedError(
            ErrorCode.INVALID_REQUEST,
            f"Last-Event-ID {last_event_id[:80]!r} is no id of a log stream; leave it out to begin anew",
        )
    return positions


async def _change(
    manager: ManagerClient, operation: Operation, agent_id: str, response: Response, wait_s: float
) -> ChangeResult:
    params = ChangeParams(wait_s=wait_s)
    result = cast(ChangeResult, await manager.call(operation, agent_id=agent_id, params=params, wait_s=wait_s))
    response.status_code = HTTPStatus.OK if result.done else HTTPStatus.ACCEPTED
    return result
