"""Answers to requests (`protocol.messages.Response`) as they go out: always JSON, never larger than the bus carries."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from nats.micro.request import ERROR_CODE_HEADER, ERROR_HEADER

from agent_manager.protocol import headers
from agent_manager.protocol.errors import ErrorCode
from agent_manager.protocol.messages import Response
from agent_manager.sdk.errors import CommandError, describe
from agent_manager.sdk.requests import Heading


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A result, or the error that stands in its place."""

    agent_id: str
    heading: Heading
    result: Any = None
    error: CommandError | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers that make an error one for every client of a micro service (ADR-32)."""
        if self.error is None:
            return {}
        return {ERROR_HEADER: headers.one_line(self.error.message), ERROR_CODE_HEADER: self.error.code}


def encode(answer: Answer, *, max_payload: int) -> tuple[Answer, bytes]:
    """The answer that can be sent, and its bytes.

    It is another one when the result is not JSON (`internal`) or takes more than half of `max_payload` bytes
    (`too_large`).
    """
    try:
        body = _json(answer)
    except (TypeError, ValueError, RecursionError) as error:
        return _instead(
            answer, f"what {answer.heading.command!r} returned is not JSON: {describe(error)}", ErrorCode.INTERNAL
        )
    limit = max_payload // 2
    if len(body) > limit:
        return _instead(
            answer,
            f"the answer to {answer.heading.command!r} has {len(body):,} bytes; at most {limit:,} can be sent",
            ErrorCode.TOO_LARGE,
        )
    return answer, body


def _instead(answer: Answer, message: str, code: ErrorCode) -> tuple[Answer, bytes]:
    refusal = Answer(agent_id=answer.agent_id, heading=answer.heading, error=CommandError(message, code=code))
    return refusal, _json(refusal)


def _json(answer: Answer) -> bytes:
    response = Response(
        id=answer.heading.id,
        status="error" if answer.error else "success",
        command=answer.heading.command,
        agent_id=answer.agent_id,
        error=answer.error.body if answer.error else None,
        timestamp=datetime.now(UTC),
    )
    document = response.model_dump(mode="json", exclude={"result"}, exclude_none=True)
    if answer.error is None:
        # Past pydantic, which would turn into JSON what other clients could not read back (not-a-number, sets).
        document["result"] = answer.result
    return json.dumps(document, allow_nan=False, ensure_ascii=False).encode()
