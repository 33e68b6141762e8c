"""Every route against a manager that answers."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agent_manager.protocol import headers, operations
from agent_manager.protocol.operations import Operation
from agent_manager.protocol.resources import ChangeResult, NodeList, StoreView
from tests.harness.fake_manager import AT, FakeManager, agent, plausible_results
from tests.harness.live_api import LiveApi

ROUTES = [
    ("GET", "/agents", operations.AGENTS_LIST),
    ("GET", "/agents/echo", operations.AGENTS_GET),
    ("GET", "/agents/echo/status", operations.AGENTS_STATUS),
    ("GET", "/agents/echo/metrics", operations.AGENTS_METRICS),
    ("GET", "/agents/echo/logs", operations.AGENTS_LOGS),
    ("POST", "/agents/echo/start", operations.AGENTS_START),
    ("POST", "/agents/echo/stop", operations.AGENTS_STOP),
    ("POST", "/agents/echo/restart", operations.AGENTS_RESTART),
    ("GET", "/instances", operations.INSTANCES_LIST),
    ("GET", "/packages", operations.PACKAGES_LIST),
    ("GET", "/nodes", operations.NODES_LIST),
]
EVERY_ROUTE = pytest.mark.parametrize(("method", "path", "operation"), ROUTES, ids=[f"{m} {p}" for m, p, _ in ROUTES])


@EVERY_ROUTE
async def test_a_route_answers_with_its_operations_result(
    api: LiveApi, manager: FakeManager, method: str, path: str, operation: Operation
) -> None:
    answer = await api.http.request(method, f"/api/v1{path}")
    assert answer.status_code == 200
    assert answer.json() == plausible_results()[operation].model_dump(mode="json")
    assert [received.operation for received in manager.received] == [operation.name]
    assert manager.received[0].request.agent_id == ("echo" if operation.agent else None)


@EVERY_ROUTE
async def test_the_short_prefix_answers_the_same(
    api: LiveApi, manager: FakeManager, method: str, path: str, operation: Operation
) -> None:
    long = await api.http.request(method, f"/api/v1{path}")
    short = await api.http.request(method, f"/api{path}")
    assert (short.status_code, short.json()) == (long.status_code, long.json())
    assert len(manager.received) == 2


@pytest.mark.parametrize("path", ["/health", "/healthz", "/readyz", "/metrics"])
async def test_a_probe_may_ask_for_the_head_alone(api: LiveApi, manager: FakeManager, path: str) -> None:
    answer = await api.http.head(path)
    assert (answer.status_code, answer.content) == (200, b"")


async def test_a_package_is_tried_again_by_its_name(api: LiveApi, manager: FakeManager) -> None:
    answer = await api.http.post("/api/v1/packages/own_libs/retry")
    assert answer.status_code == 202
    assert answer.json() == plausible_results()[operations.PACKAGES_RETRY].model_dump(mode="json")
    (received,) = manager.received
    assert (received.operation, received.request.params) == ("packages.retry", {"name": "own_libs"})


async def test_a_request_says_who_asks_and_until_when(api: LiveApi, manager: FakeManager) -> None:
    before = datetime.now(UTC)
    await api.http.get("/api/v1/nodes")
    received = manager.received[0]
    assert received.headers[headers.ACTOR] == "http"
    assert received.request.id
    assert received.request.timestamp is not None
    assert received.request.deadline is not None
    assert before <= received.request.timestamp
    assert (received.request.deadline - received.request.timestamp).total_seconds() == 2.0


async def test_page_parameters_reach_the_manager(api: LiveApi, manager: FakeManager) -> None:
    await api.http.get("/api/v1/agents", params={"page_size": 7, "page_token": "echo"})
    assert manager.received[0].request.params == {"page_size": 7, "page_token": "echo"}


async def test_log_parameters_reach_the_manager(api: LiveApi, manager: FakeManager) -> None:
    await api.http.get("/api/v1/agents/echo/logs", params={"tail": 5, "instance_id": "echo_1"})
    assert manager.received[0].request.params == {"tail": 5, "instance_id": "echo_1"}


async def test_a_change_that_is_not_done_is_accepted(api: LiveApi, manager: FakeManager) -> None:
    manager.answer(operations.AGENTS_STOP, ChangeResult(agent=agent(), done=False))
    answer = await api.http.post("/api/v1/agents/echo/stop")
    assert answer.status_code == 202
    assert answer.json()["done"] is False


async def test_the_wait_reaches_the_manager_and_extends_its_deadline(api: LiveApi, manager: FakeManager) -> None:
    await api.http.post("/api/v1/agents/echo/start", params={"wait": 2.5})
    request = manager.received[0].request
    assert request.params == {"wait_s": 2.5}
    assert request.deadline is not None
    assert request.timestamp is not None
    assert (request.deadline - request.timestamp).total_seconds() == 4.5


async def test_an_impossible_wait_is_refused_before_anybody_is_asked(api: LiveApi, manager: FakeManager) -> None:
    for wait in ("-1", "300.5", "1e99", "nan", "inf", "soon"):
        answer = await api.http.post(f"/api/v1/agents/echo/start?wait={wait}")
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request"), wait
        assert f"wait '{wait}'" in answer.json()["detail"]
    assert manager.received == []


async def test_a_wrong_parameter_is_refused_and_named(api: LiveApi, manager: FakeManager) -> None:
    for path, name, value in (
        ("agents", "page_size", "0"),
        ("agents", "page_size", "1001"),
        ("nodes", "page_size", "x"),
        ("packages", "page_token", "x" * 513),
        ("agents/echo/logs", "tail", "0"),
        ("agents/echo/logs", "tail", "10001"),
        ("events", "agent_id", "Echo"),
    ):
        answer = await api.http.get(f"/api/v1/{path}", params={name: value})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request"), (path, name, value)
        fault = answer.json()["context"]["faults"][0]
        assert (fault["field"], fault["value"]) == (name, value[:80])
    assert manager.received == []


async def test_an_unknown_parameter_is_refused_and_the_known_ones_are_named(api: LiveApi, manager: FakeManager) -> None:
    for method, path, name, taken in (
        ("GET", "agents", "pagesize", ["page_size", "page_token"]),
        ("GET", "agents/echo", "wait", []),
        ("POST", "agents/echo/stop", "wait_s", ["wait"]),
        ("GET", "agents/echo/logs", "lines", ["follow", "instance_id", "tail", "until_stopped"]),
        ("GET", "events", "agent", ["agent_id", "type"]),
    ):
        for prefix in ("/api/v1", "/api"):
            answer = await api.http.request(method, f"{prefix}/{path}", params={name: "7"})
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request"), path
            assert f"unknown query parameter '{name}'" in answer.json()["detail"]
            assert all(known in answer.json()["detail"] for known in taken or ["none"])
            context = answer.json()["context"]
            assert context["faults"] == [{"field": name, "value": "7", "message": "unknown parameter"}]
            assert context["allowed"] == taken
    assert manager.received == []


async def test_what_cannot_be_an_agent_id_is_refused_before_anybody_is_asked(
    api: LiveApi, manager: FakeManager
) -> None:
    for agent_id in ("Echo", "a.b", "a*", "%3E", "-a", "_", "a" * 64, "a%20b", "%00", "%C3%A9", "a%0A"):
        for verb in ("", "/logs"):
            answer = await api.http.get(f"/api/v1/agents/{agent_id}{verb}")
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request"), agent_id
    assert manager.received == []


async def test_the_system_is_degraded_while_a_node_does_not_reach_its_database(
    api: LiveApi, manager: FakeManager
) -> None:
    answer = await api.http.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    nodes = plausible_results()[operations.NODES_LIST]
    assert isinstance(nodes, NodeList)
    away = StoreView(available=False, reason="the database is away", since=AT)
    beside = nodes.items[0].model_copy(update={"id": "node-2", "store": away})
    manager.answer(operations.NODES_LIST, NodeList(items=[*nodes.items, beside]))
    answer = await api.http.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert [node["store"]["reason"] for node in answer.json()["nodes"]] == [None, "the database is away"]


async def test_health_needs_no_manager(api: LiveApi) -> None:
    answer = await api.http.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


async def test_ready_when_a_manager_answers(api: LiveApi, manager: FakeManager) -> None:
    answer = await api.http.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})
    assert manager.received[0].request.params == {"page_size": 1}
