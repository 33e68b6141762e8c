"""Requests as bytes: decoding with errors that name the field, encoding of answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from agent_manager.domain.errors import (
    AgentManagerError,
    InvalidRequestError,
    StaleRequestError,
    TooLargeError,
)
from agent_manager.domain.identifiers import check_agent_id
from agent_manager.protocol import operations
from agent_manager.protocol.errors import ErrorBody
from agent_manager.protocol.messages import Envelope, Message, Request, Response
from agent_manager.protocol.operations import Kind, Operation
from agent_manager.transport.handlers import Call

M = TypeVar("M", bound=BaseModel)

MAX_REQUEST_BYTES = 1_000_000
"""Larger requests are refused unread: no operation needs them, and parsing them would hold up everybody else."""

_MAX_ECHOED = 128
_MAX_NAMED = 100
"""Faults that are told one by one. Telling a hundred thousand takes longer than finding them, and helps nobody."""


def decode(model: type[M], data: bytes) -> M:
    """Parse JSON into `model`; nothing at all counts as `{}`.

    Raises InvalidRequestError naming every wrong field, TooLargeError with the figure.
    """
    if len(data) > MAX_REQUEST_BYTES:
        raise TooLargeError(
            f"the request has {len(data):,} bytes; at most {MAX_REQUEST_BYTES:,} are read",
            detail={"bytes": len(data), "max_bytes": MAX_REQUEST_BYTES},
        )
    try:
        return model.model_validate_json(data.strip() or b"{}")
    except ValidationError as error:
        raise _invalid(error) from error


@dataclass(frozen=True, kw_only=True, slots=True)
class Heading:
    """What an answer repeats of its request, as far as it could be read."""

    id: str | None = None
    agent_id: str | None = None
    command: str | None = None


def heading_of(data: bytes) -> Heading:
    """The heading of a request that was refused and may be wrong in every other way."""
    try:
        document = from_json(data) if len(data) <= MAX_REQUEST_BYTES else None
    except ValueError:
        document = None
    if not isinstance(document, dict):
        return Heading()
    known = {name: document.get(name) for name in ("id", "agent_id", "command")}
    return Heading(**{name: value[:_MAX_ECHOED] for name, value in known.items() if isinstance(value, str)})


def _invalid(error: ValidationError) -> InvalidRequestError:
    if error.error_count() > _MAX_NAMED:
        return InvalidRequestError(f"invalid request: {error.error_count():,} values are wrong")
    faults = [
        {"field": ".".join(str(part) for part in fault["loc"]) or "body", "message": fault["msg"]}
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    words = "; ".join(f"{fault['field']}: {fault['message']}" for fault in faults)
    return InvalidRequestError(f"invalid request: {words[:2000]}", detail={"errors": faults})


def operation_of(envelope: Envelope, *, queries_only: bool) -> Operation:
    """The operation an envelope names. Raises InvalidRequestError listing those there are."""
    operation = operations.of_envelope(envelope.command)
    if operation is None:
        known = [known.name for known in operations.OPERATIONS]
        raise InvalidRequestError(
            f"command: {envelope.command!r} is unknown; known are {', '.join(known)}",
            detail={"field": "command", "known": known},
        )
    if queries_only and operation.kind is not Kind.QUERY:
        raise InvalidRequestError(
            f"command: {envelope.command!r} changes state; send it to agent.manager.command",
            detail={"field": "command"},
        )
    return operation


def call_of(operation: Operation, request: Request, actor: str | None, now: datetime) -> Call:
    """A request checked against its operation. Raises InvalidRequestError, StaleRequestError."""
    if request.deadline is not None and request.deadline < now:
        raise StaleRequestError(
            f"the deadline {request.deadline.isoformat()} has passed; nobody waits for this any more",
            detail={"deadline": request.deadline.isoformat()},
        )
    if operation.agent:
        if request.agent_id is None:
            raise InvalidRequestError(
                f"agent_id: missing; {operation.name} addresses an agent", detail={"field": "agent_id"}
            )
        check_agent_id(request.agent_id)
    try:
        params = operation.params.model_validate(request.params)
    except ValidationError as error:
        raise _invalid(error) from error
    return Call(agent_id=request.agent_id or "", params=params, actor=actor)


def success(name: str, request: Request, result: Message) -> Response:
    """The answer to a request that was carried out."""
    return Response(
        id=request.id,
        status="success",
        command=name,
        agent_id=request.agent_id,
        result=result.model_dump(mode="json"),
        timestamp=datetime.now(UTC),
    )


def failure(name: str, heading: Heading, error: AgentManagerError) -> Response:
    """The answer to a request that was refused."""
    return Response(
        id=heading.id,
        status="error",
        command=name,
        agent_id=heading.agent_id,
        error=body_of(error),
        timestamp=datetime.now(UTC),
    )


def body_of(error: AgentManagerError) -> ErrorBody:
    """An error as the wire carries it."""
    return ErrorBody(code=error.code, message=error.message, detail=error.detail, retryable=error.retryable)


def internal_error() -> AgentManagerError:
    """What a caller is told of a fault of ours: nothing but that the log knows more."""
    return AgentManagerError("internal error; the manager's log has the details")
