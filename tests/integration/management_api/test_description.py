"""What the API says of itself is complete and true."""

from __future__ import annotations

from typing import Any

import pytest

from agent_manager.protocol.release import release
from management_api.app import create_app
from management_api.manager_client import ManagerClient
from management_api.settings import Settings
from tests.harness.live_api import LiveApi


@pytest.fixture
def document() -> dict[str, Any]:
    """The OpenAPI document."""
    settings = Settings()
    return create_app(ManagerClient(settings), settings).openapi()


def operations_of(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every documented operation, by method and path."""
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_every_route_is_described_once(document: dict[str, Any]) -> None:
    assert set(operations_of(document)) == {
        "GET /api/v1/agents",
        "GET /api/v1/agents/{agent_id}",
        "POST /api/v1/agents/{agent_id}/start",
        "POST /api/v1/agents/{agent_id}/stop",
        "POST /api/v1/agents/{agent_id}/restart",
        "GET /api/v1/agents/{agent_id}/status",
        "GET /api/v1/agents/{agent_id}/metrics",
        "GET /api/v1/agents/{agent_id}/logs",
        "GET /api/v1/packages",
        "POST /api/v1/packages/{name}/retry",
        "GET /api/v1/instances",
        "GET /api/v1/nodes",
        "GET /api/v1/events",
        "GET /health",
        "GET /healthz",
        "GET /readyz",
        "GET /metrics",
    }
    ids = [operation["operationId"] for operation in operations_of(document).values()]
    assert len(set(ids)) == len(ids)
    assert document["info"]["version"] == release()


def test_every_operation_has_tag_words_and_problems(document: dict[str, Any]) -> None:
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for name, operation in operations_of(document).items():
        assert operation["tags"], name
        assert operation["summary"], name
        assert operation["description"], name
        assert "422" not in operation["responses"], name
        assert {"403", "500", "default"} <= operation["responses"].keys(), name
        if name not in ("GET /healthz", "GET /metrics"):
            assert "503" in operation["responses"], name
            assert "Retry-After" in operation["responses"]["503"]["headers"], name
        problems = {status: r["content"] for status, r in operation["responses"].items() if not status.startswith("2")}
        assert all(content == problem for content in problems.values()), name


def test_operations_on_agents_document_what_may_be_wrong_with_one(document: dict[str, Any]) -> None:
    for name, operation in operations_of(document).items():
        if "{agent_id}" in name:
            assert {"400", "404", "429", "504"} <= operation["responses"].keys(), name
            if name.startswith("POST"):
                assert {"200", "202", "409"} <= operation["responses"].keys(), name
        if name.startswith("POST"):
            assert "requestBody" not in operation


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            return own + [found for value in node.values() for found in references(value)]
        return [found for value in node for found in references(value)] if isinstance(node, list) else []

    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(references(document)) <= known


async def test_the_description_is_served(api: LiveApi) -> None:
    answer = await api.http.get("/api/v1/openapi.json")
    assert answer.status_code == 200
    assert answer.json() == api.app.openapi()
