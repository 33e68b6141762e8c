"""Whatever goes wrong is a problem detail that says what, and what to do."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import httpx
import pytest

from agent_manager.protocol import operations
from agent_manager.protocol.errors import ErrorBody, ErrorCode
from agent_manager.protocol.resources import NodeList
from management_api.problems import STATUS_OF_CODE
from tests.harness.fake_manager import FakeManager, answering, plausible_results
from tests.harness.live_api import LiveApi, running_api
from tests.harness.nats_server import NatsHarness
from tests.harness.waiting import eventually


def problem_of(answer: httpx.Response) -> dict[str, Any]:
    """The problem in an answer, which must be one in every respect."""
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert set(problem) == {
        *("type", "title", "status", "detail", "instance", "code", "retryable", "request_id", "context")
    }
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["status"] == answer.status_code
    assert problem["title"] == HTTPStatus(answer.status_code).phrase
    assert problem["instance"] == answer.request.url.path
    assert ("retry-after" in answer.headers) == (answer.status_code in (429, 503))
    return problem


async def test_a_managers_error_keeps_its_code_words_and_facts(api: LiveApi, manager: FakeManager) -> None:
    for code in ErrorCode:
        error = ErrorBody(code=code, message="no echo here", detail={"id": "echo"}, retryable=True)
        manager.refuse(operations.AGENTS_GET, error)
        answer = await api.http.get("/api/v1/agents/echo")
        problem = problem_of(answer)
        assert answer.status_code == STATUS_OF_CODE[code]
        assert problem["code"] == code
        assert problem["detail"] == "no echo here"
        assert problem["context"] == {"id": "echo"}
        assert problem["retryable"] is True


async def test_a_code_of_a_newer_manager_is_passed_on_as_a_server_error(api: LiveApi, manager: FakeManager) -> None:
    manager.refuse(operations.AGENTS_GET, ErrorBody(code="on_strike", message="not today"))
    answer = await api.http.get("/api/v1/agents/echo")
    assert answer.status_code == 500
    assert problem_of(answer)["code"] == "on_strike"


async def test_an_answer_that_makes_no_sense_is_an_internal_error(api: LiveApi, manager: FakeManager) -> None:
    head = b'"command": "agents.get", "timestamp": "2026-01-01T00:00:00Z"'
    no_agent = b'{"status": "success", "result": {"id": 1}, ' + head + b"}"
    no_code = b'{"status": "error", ' + head + b"}"
    for body in (b"", b"[]", b"\xff", no_agent, no_code):
        manager.answer_with(operations.AGENTS_GET, lambda _, body=body: body)  # type: ignore[misc]
        answer = await api.http.get("/api/v1/agents/echo")
        assert answer.status_code == 500, body
        assert problem_of(answer)["code"] == "internal"


async def test_an_unknown_path_is_a_problem(api: LiveApi) -> None:
    for path in ("/", "/api", "/api/v2/agents", "/api/v1/agents/", "/api/v1/agents/echo/dance", "/docs"):
        answer = await api.http.get(path)
        assert answer.status_code == 404, path
        assert problem_of(answer)["code"] == "not_found"


async def test_a_method_that_is_not_allowed_is_a_problem_and_names_those_that_are(api: LiveApi) -> None:
    for method, path in (("DELETE", "/api/v1/agents"), ("GET", "/api/v1/agents/echo/start"), ("POST", "/api/nodes")):
        answer = await api.http.request(method, path)
        assert answer.status_code == 405, (method, path)
        assert problem_of(answer)["code"] == "unsupported"
        assert answer.headers["allow"]


async def test_nobody_answering_is_told_by_the_bus_and_not_by_a_timeout(nats: NatsHarness) -> None:
    async with running_api(nats, service={"request_timeout_s": 300.0}) as api:
        for path in ("/api/v1/agents", "/readyz"):
            answer = await api.http.get(path)
            assert answer.status_code == 503
            problem = problem_of(answer)
            assert (problem["code"], problem["retryable"]) == ("unavailable", True)
            assert "no manager is running" in problem["detail"]


async def test_a_manager_that_never_answers_is_a_timeout(nats: NatsHarness, manager: FakeManager) -> None:
    manager.ignore(operations.AGENTS_GET)
    async with running_api(nats, service={"request_timeout_s": 0.1}) as api:
        answer = await api.http.get("/api/v1/agents/echo")
    assert answer.status_code == 504
    problem = problem_of(answer)
    assert problem["code"] == "timeout"
    assert "agents.get within 0.1 s; try again" in problem["detail"]


async def test_a_manager_that_dies_with_a_request_is_not_waited_for(nats: NatsHarness) -> None:
    connection = await nats.connect_as_manager()
    async with answering(connection) as manager, running_api(nats, service={"request_timeout_s": 300.0}) as api:
        manager.ignore(operations.AGENTS_START)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(api.http.post("/api/v1/agents/echo/start"))
            await eventually(lambda: manager.received)
            await connection.close()
    answer = waiting.result()
    assert answer.status_code == 503
    assert "look before asking again" in problem_of(answer)["detail"]


async def test_a_manager_that_was_replaced_meanwhile_is_not_waited_for(nats: NatsHarness, manager: FakeManager) -> None:
    manager.ignore(operations.AGENTS_START)
    nodes = plausible_results()[operations.NODES_LIST]
    assert isinstance(nodes, NodeList)
    later = nodes.items[0].model_copy(update={"started_at": datetime.now(UTC) + timedelta(days=1)})
    manager.answer(operations.NODES_LIST, NodeList(items=[later]))
    async with running_api(nats, service={"request_timeout_s": 300.0}) as api:
        answer = await api.http.post("/api/v1/agents/echo/start")
    assert answer.status_code == 503
    assert "ended before it answered" in problem_of(answer)["detail"]


async def test_without_a_bus_it_starts_says_so_and_recovers(nats: NatsHarness) -> None:
    await nats.stop()
    async with running_api(nats, connected=False) as api:
        assert (await api.http.get("/healthz")).status_code == 200
        for path in ("/readyz", "/api/v1/agents", "/api/v1/events"):
            answer = await api.http.get(path)
            assert answer.status_code == 503
            assert f"not connected to NATS at {nats.url}" in problem_of(answer)["detail"]
        await nats.start()
        await eventually(lambda: api.connected)
        assert "no manager is running" in problem_of(await api.http.get("/readyz"))["detail"]


async def test_a_lost_bus_ends_waiting_at_once_and_is_found_again(
    nats: NatsHarness, manager: FakeManager, api: LiveApi
) -> None:
    manager.ignore(operations.AGENTS_START)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(api.http.post("/api/v1/agents/echo/start?wait=300"))
        await eventually(lambda: manager.received)
        await nats.kill()
    answer = waiting.result()
    assert answer.status_code == 503
    assert "connection to NATS was lost" in problem_of(answer)["detail"]
    await nats.start()
    await eventually(lambda: api.connected)

    async def ready() -> bool:
        return (await api.http.get("/readyz")).status_code == 200

    await eventually(ready)


async def test_a_fault_inside_tells_nothing_of_the_inside(
    api: LiveApi, manager: FakeManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(api.manager, "call", fail)
    answer = await api.http.get("/api/v1/agents")
    assert answer.status_code == 500
    assert problem_of(answer)["code"] == "internal"
    assert "secret" not in answer.text
    assert "ZeroDivision" not in answer.text
