"""What the API says of itself: one description of each operation, made from the wire's own table."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI

from agent_manager.protocol.operations import Kind, Operation
from management_api.problems import MEDIA_TYPE, RETRY_AFTER_S, Problem

_PROBLEM = {"schema": {"$ref": "#/components/schemas/Problem"}}

_ANYWHERE: Mapping[int, str] = {
    HTTPStatus.FORBIDDEN: "Foreign Host header, or a change asked for by a page of another site",
    HTTPStatus.INTERNAL_SERVER_ERROR: "A fault of the API or the manager",
}
_BY_MANAGER: Mapping[int, str] = {
    HTTPStatus.BAD_REQUEST: "A parameter is wrong",
    HTTPStatus.TOO_MANY_REQUESTS: "Too much at once; try again",
    HTTPStatus.SERVICE_UNAVAILABLE: "No NATS, no manager, or a part the manager needs is away; try again",
    HTTPStatus.GATEWAY_TIMEOUT: "The manager did not answer in time",
}


def described(operation: Operation) -> dict[str, Any]:
    """The arguments of a route for `operation`: result, summary, operation id and every kind of problem."""
    problems = dict(_BY_MANAGER)
    if operation.agent:
        problems[HTTPStatus.NOT_FOUND] = "No such agent"
    if operation.kind is Kind.COMMAND:
        problems[HTTPStatus.CONFLICT] = "The present state does not allow it"
    return {
        "response_model": operation.result,
        "summary": operation.summary,
        "operation_id": f"{operation.resource}_{operation.verb}",
        "responses": problem_responses(problems),
    }


def problem_responses(described_by_status: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may answer with these problems, and those that every route has."""
    descriptions = {**described_by_status, **_ANYWHERE}
    responses: dict[int | str, dict[str, Any]] = {
        status: _problem_response(status, descriptions[status]) for status in sorted(descriptions)
    }
    # Without it FastAPI would promise answers of its own kind (422), which are never sent.
    return {**responses, "default": {"description": "Any other problem", "content": {MEDIA_TYPE: _PROBLEM}}}


def _problem_response(status: int, description: str) -> dict[str, Any]:
    response: dict[str, Any] = {"description": description, "content": {MEDIA_TYPE: _PROBLEM}}
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        retry_after = {"description": "Seconds", "schema": {"type": "integer", "example": RETRY_AFTER_S}}
        response["headers"] = {"Retry-After": retry_after}
    return response


class DescribedApi(FastAPI):
    """A FastAPI whose description knows problem details, which are no route's result and would be left out."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        document = super().openapi()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas.setdefault("Problem", Problem.model_json_schema(ref_template="#/components/schemas/{model}"))
        return document
