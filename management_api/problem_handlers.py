"""Which problem each exception of the application becomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, cast

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from agent_manager.protocol.errors import ErrorCode, RequestFailedError
from management_api.problems import problem_response

_CODE_OF_STATUS: Mapping[int, ErrorCode] = {
    HTTPStatus.NOT_FOUND: ErrorCode.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED: ErrorCode.UNSUPPORTED,
}
_SHOWN_CHARACTERS = 80


def install(app: FastAPI) -> None:
    """Let every failure of `app` answer with a problem."""
    app.add_exception_handler(RequestFailedError, _on_request_failed)
    app.add_exception_handler(RequestValidationError, _on_invalid_parameters)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, _on_unexpected)


async def _on_request_failed(request: Request, error: Exception) -> Response:
    return problem_response(cast(RequestFailedError, error), instance=request.url.path)


async def _on_invalid_parameters(request: Request, error: Exception) -> Response:
    faults = [_fault(entry) for entry in cast(RequestValidationError, error).errors()]
    message = "; ".join(f"{fault['field']} {fault['value']!r}: {fault['message']}" for fault in faults)
    failed = RequestFailedError(ErrorCode.INVALID_REQUEST, message, detail={"faults": faults})
    return problem_response(failed, instance=request.url.path)


def _fault(entry: Mapping[str, Any]) -> dict[str, str]:
    location: Sequence[str | int] = entry["loc"]
    return {
        "field": ".".join(str(part) for part in location[1:]),
        "value": str(entry.get("input"))[:_SHOWN_CHARACTERS],
        "message": str(entry["msg"]),
    }


async def _on_http_exception(request: Request, error: Exception) -> Response:
    raised = cast(HTTPException, error)
    status = HTTPStatus(raised.status_code)
    fallback = ErrorCode.INVALID_REQUEST if status < HTTPStatus.INTERNAL_SERVER_ERROR else ErrorCode.INTERNAL
    failed = RequestFailedError(_CODE_OF_STATUS.get(status, fallback), _words(request, raised))
    return problem_response(failed, instance=request.url.path, status=status, headers=raised.headers)


def _words(request: Request, raised: HTTPException) -> str:
    match raised.status_code:
        case HTTPStatus.NOT_FOUND:
            return f"there is nothing at {request.url.path}; see /api/v1/openapi.json for what there is"
        case HTTPStatus.METHOD_NOT_ALLOWED:
            return f"{request.url.path} does not take {request.method}; see /api/v1/openapi.json for what it takes"
        case _:
            return raised.detail


async def _on_unexpected(request: Request, error: Exception) -> Response:
    # The server logs the exception with its traceback; a client learns nothing of the inside.
    failed = RequestFailedError(ErrorCode.INTERNAL, "something failed inside the management API; its log says what")
    return problem_response(failed, instance=request.url.path)
