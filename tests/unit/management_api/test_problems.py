"""The table of statuses."""

from __future__ import annotations

import json

from agent_manager.protocol.errors import ErrorCode, RequestFailedError
from management_api.problems import STATUS_OF_CODE, problem_response


def test_every_code_of_the_wire_has_a_status() -> None:
    assert set(STATUS_OF_CODE) == set(ErrorCode)


def test_what_may_be_tried_again_later_says_when() -> None:
    later = {
        code
        for code in ErrorCode
        if "retry-after" in problem_response(RequestFailedError(code, "words"), instance="/").headers
    }
    assert later == {ErrorCode.BUSY, ErrorCode.UNAVAILABLE}


def test_a_problem_carries_what_the_wire_said() -> None:
    error = RequestFailedError(ErrorCode.CONFLICT, "words", detail={"lifecycle": "terminated"})
    assert json.loads(bytes(problem_response(error, instance="/api/v1/agents/echo").body)) == {
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "detail": "words",
        "instance": "/api/v1/agents/echo",
        "code": "conflict",
        "retryable": False,
        "request_id": None,
        "context": {"lifecycle": "terminated"},
    }
