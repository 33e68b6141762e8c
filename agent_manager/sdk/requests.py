"""Reading requests (`protocol.messages.Envelope`): what arrives is understood, or refused with the field's name."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from agent_manager.protocol.errors import ErrorCode
from agent_manager.protocol.messages import Envelope
from agent_manager.sdk.errors import CommandError

_MAX_ECHOED = 128


@dataclass(frozen=True, slots=True)
class Heading:
    """What an answer repeats of its request, as far as it could be read."""

    id: str | None = None
    command: str = ""


def parse(data: bytes) -> dict[str, Any]:
    """The JSON object in `data`. Raises CommandError (`invalid_request`) when there is none."""
    try:
        document = from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise CommandError(f"the request is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise CommandError(f"the request must be a JSON object, not {type(document).__name__}")
    return document


def heading_of(document: dict[str, Any]) -> Heading:
    """The heading of a request that may be wrong in every other way."""
    request_id, command = document.get("id"), document.get("command")
    return Heading(
        id=request_id[:_MAX_ECHOED] if isinstance(request_id, str) else None,
        command=command[:_MAX_ECHOED] if isinstance(command, str) else "",
    )


def validated(document: dict[str, Any]) -> Envelope:
    """The envelope. Raises CommandError: `invalid_request` with the field's name, `stale` past its deadline."""
    try:
        envelope = Envelope.model_validate(document)
    except ValidationError as error:
        raise _fault(error) from error
    if envelope.deadline is not None and envelope.deadline <= datetime.now(UTC):
        raise CommandError(
            f"command {envelope.command!r} had to be read by {envelope.deadline.isoformat()}; its sender has given up",
            code=ErrorCode.STALE,
        )
    return envelope


def _fault(error: ValidationError) -> CommandError:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    return CommandError(f"field {field!r}: {first['msg']}", detail={"field": field})
