"""What surrounds every request: its ids, its place in the metrics, its log line."""

from __future__ import annotations

import re
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from agent_manager.protocol import operations
from agent_manager.protocol.errors import ErrorBody, ErrorCode
from tests.harness.fake_manager import FakeManager
from tests.harness.live_api import LiveApi
from tests.harness.waiting import eventually

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"


async def value(api: LiveApi, name: str, **labels: str) -> float | None:
    answer = await api.http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return float(sample.value)
    return None


async def test_ids_of_the_caller_reach_the_manager_and_come_back(api: LiveApi, manager: FakeManager) -> None:
    heads = {"traceparent": PARENT, "tracestate": "a=1", "X-Request-Id": "ticket-7"}
    answer = await api.http.get("/api/v1/agents/echo", headers=heads)
    assert answer.headers["x-request-id"] == "ticket-7"
    (received,) = [request for request in manager.received if request.operation == "agents.get"]
    assert received.headers["traceparent"] == PARENT
    assert received.headers["tracestate"] == "a=1"
    assert received.headers["X-Request-Id"] == "ticket-7"
    assert received.request.id == "ticket-7"


@pytest.mark.parametrize("traceparent", ["", "nonsense", "00-0-0-00", PARENT + "-more", "é"])
async def test_a_malformed_trace_is_replaced_and_no_error(api: LiveApi, manager: FakeManager, traceparent: str) -> None:
    heads: Any = [(b"traceparent", traceparent.encode()), (b"x-request-id", b"two words")]
    answer = await api.http.get("/api/v1/agents/echo", headers=heads)
    assert answer.status_code == 200
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
    (received,) = [request for request in manager.received if request.operation == "agents.get"]
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", received.headers["traceparent"])


async def test_answers_from_outside_of_every_route_have_an_id_too(api: LiveApi) -> None:
    for path, host in (("/nowhere", "127.0.0.1"), ("/api/v1/agents", "evil.example")):
        answer = await api.http.get(path, headers={"host": host, "x-request-id": "mine"})
        assert answer.status_code >= 400
        assert answer.headers["x-request-id"] == answer.json()["request_id"] == "mine"


async def test_requests_are_counted_by_route_and_never_by_path(api: LiveApi, manager: FakeManager) -> None:
    for path in ("/api/v1/agents/echo", "/api/agents/other", "/nowhere", "/nor/here"):
        await api.http.get(path)
    name = "management_api_requests_total"
    assert await value(api, name, route="/agents/{agent_id}", method="GET", status="200") == 2
    assert await value(api, name, route="none", method="GET", status="404") == 2
    await api.http.request("BREW", "/api/v1/agents")
    assert await value(api, name, method="other", status="405") == 1
    assert await value(api, "management_api_request_duration_seconds_count", route="/agents/{agent_id}") == 2
    assert await value(api, "management_api_bus_connected") == 1


async def test_an_event_stream_is_counted_while_it_lasts_and_its_length_is_no_duration(
    api: LiveApi, manager: FakeManager
) -> None:
    async with api.http.stream("GET", "/api/v1/events") as answer:
        assert await anext(answer.aiter_lines()) == ": connected"
        assert await value(api, "management_api_event_streams") == 1
        # The stream, and the scrape itself.
        assert await value(api, "management_api_requests_in_progress") == 2

    async def over() -> bool:
        return await value(api, "management_api_event_streams") == 0

    await eventually(over)
    assert await value(api, "management_api_requests_total", route="/events", status="200") == 1
    assert await value(api, "management_api_request_duration_seconds_count", route="/events") is None


async def test_changes_and_problems_have_a_line_each_and_mere_looking_is_for_debugging(
    api: LiveApi, manager: FakeManager
) -> None:
    manager.refuse(operations.AGENTS_STOP, ErrorBody(code=ErrorCode.CONFLICT, message="not now"))
    with capture_logs() as lines:
        await api.http.get("/api/v1/agents/echo")
        await api.http.post("/api/v1/agents/echo/start")
        await api.http.post("/api/v1/agents/echo/stop")
        await eventually(lambda: len([line for line in lines if line["event"] == "http_answered"]) == 3)
    told = [line for line in lines if line["event"] == "http_answered"]
    assert [(line["log_level"], line["path"].rpartition("/")[2], line["status"]) for line in told] == [
        ("debug", "echo", 200),
        ("info", "start", 200),
        ("info", "stop", 409),
    ]
