"""Errors as problem details (RFC 9457), and the only table from the wire's codes to HTTP statuses."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from agent_manager.protocol import tracing
from agent_manager.protocol.errors import ErrorCode, RequestFailedError

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1

STATUS_OF_CODE: Mapping[str, HTTPStatus] = {
    ErrorCode.INVALID_REQUEST: HTTPStatus.BAD_REQUEST,
    ErrorCode.FORBIDDEN: HTTPStatus.FORBIDDEN,
    ErrorCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorCode.CONFLICT: HTTPStatus.CONFLICT,
    ErrorCode.TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    ErrorCode.BUSY: HTTPStatus.TOO_MANY_REQUESTS,
    ErrorCode.INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
    ErrorCode.UNSUPPORTED: HTTPStatus.NOT_IMPLEMENTED,
    ErrorCode.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    ErrorCode.STALE: HTTPStatus.GATEWAY_TIMEOUT,
    ErrorCode.TIMEOUT: HTTPStatus.GATEWAY_TIMEOUT,
}
"""`stale` is a timeout too: the manager read the request after this API had given up on it."""


class Problem(BaseModel):
    """The body of every answer that is not a success."""

    type: str = "about:blank"
    title: str
    """The phrase of the status."""
    status: int
    detail: str
    """What went wrong, with which value, and what to do."""
    instance: str
    """The path that was asked for."""
    code: str
    """The code of the wire, stable across transports."""
    retryable: bool = False
    """Whether the same request may succeed later."""
    request_id: str | None = None
    """Names the request in the logs of API and manager; `X-Request-Id` of the answer says the same."""
    context: dict[str, Any] = Field(default_factory=dict)
    """Facts for programs: field names, allowed values."""


def problem_response(
    error: RequestFailedError,
    *,
    instance: str,
    status: HTTPStatus | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """The answer that tells a client of `error`. A code this release does not know is a fault of the server's side."""
    status = status or STATUS_OF_CODE.get(error.code, HTTPStatus.INTERNAL_SERVER_ERROR)
    trace = tracing.current()
    problem = Problem(
        title=status.phrase,
        status=status,
        detail=error.message,
        instance=instance,
        code=error.code,
        retryable=error.retryable,
        request_id=trace.request_id if trace is not None else None,
        context=error.detail,
    )
    retry = {"Retry-After": str(RETRY_AFTER_S)} if status in _RETRY_LATER else {}
    return JSONResponse(
        problem.model_dump(mode="json"), status, headers={**(headers or {}), **retry}, media_type=MEDIA_TYPE
    )


_RETRY_LATER = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
