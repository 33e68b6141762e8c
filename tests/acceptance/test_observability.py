"""A whole node, looked at as its operators do: scraped, searched in its logs, and with its spans collected."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent_manager.adapters.prometheus.definitions import METRICS as OF_MANAGER
from agent_manager.telemetry.definitions import Kind, Metric
from management_api.metrics import METRICS as OF_API
from tests.harness.node import Node, kill, node_under_test, write_package
from tests.harness.otlp_receiver import receiving_spans
from tests.harness.waiting import eventually

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"

TALKATIVE = """
import json, logging
from agent_manager.sdk import Agent
agent = Agent()

@agent.command("work")
async def work(params):
    logging.getLogger("talkative").info("at work")
    return dict(agent.trace_headers)

agent.run()
"""


async def scraped(node: Node, url: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Every series by name."""
    answer = await node.http.get(url)
    assert answer.status_code == 200
    series: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            series.setdefault(sample.name, []).append((sample.labels, sample.value))
    return series


def check_exported(metrics: Iterable[Metric], series: dict[str, list[tuple[dict[str, str], float]]]) -> None:
    """Every metric that is defined is there, with exactly its labels."""
    for metric in metrics:
        for name in metric.series:
            assert name in series, f"{name} is not exported"
            bucket = {"le"} if name.endswith("_bucket") and metric.kind is Kind.HISTOGRAM else set()
            assert {frozenset(labels) for labels, _ in series[name]} == {frozenset({*metric.labels, *bucket})}, name


def log_lines(node: Node, service: str) -> list[dict[str, Any]]:
    log = node.data_dir / "logs" / "services" / f"{service}.log"
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("{")]


async def test_what_is_defined_is_what_is_exported(tmp_path: Path) -> None:
    async with node_under_test(tmp_path, "echo", "clock") as node:
        await node.up()
        await node.until("echo", "running")
        await node.until("clock", "running")
        manager, api = node.state["metrics_url"], f"{node.state['api_url']}/metrics"
        await scraped(node, api)
        of_manager, of_api = await scraped(node, manager), await scraped(node, api)
        check_exported(OF_MANAGER, of_manager)
        check_exported(OF_API, of_api)
        ours = {name for name in of_manager if name.startswith(("mcp_", "agent_manager_"))}
        assert ours == {name for metric in OF_MANAGER for name in metric.series}
        assert ({"status": "running"}, 2.0) in of_manager["agent_manager_instances"]
        assert ({"model": "none"}, 2.0) in of_manager["mcp_agents_registered_total"]
        assert ({}, 1.0) in of_manager["agent_manager_store_available"]
        routes = {labels["route"] for labels, _ in of_api["management_api_requests_total"]}
        assert "/agents/{agent_id}" in routes


async def test_a_crash_shows_in_the_next_scrape(tmp_path: Path) -> None:
    async with node_under_test(tmp_path, "clock") as node:
        await node.up()
        before = await node.until("clock", "running")
        kill(before["pid"])
        await node.until("clock", "running", not_pid=before["pid"])
        series = await scraped(node, node.state["metrics_url"])
        assert ({"reason": "crash"}, 1.0) in series["agent_manager_exits_total"]
        assert series["agent_manager_restarts_total"] == [({}, 1.0)]


async def test_a_request_is_found_in_every_log_by_the_id_in_its_problem(tmp_path: Path) -> None:
    async with node_under_test(tmp_path, "clock") as node:
        await node.up()
        url = f"{node.state['api_url']}/api/v1/agents/nobody/start"
        answer = await node.http.post(url, headers={"traceparent": PARENT, "X-Request-Id": "ticket-7"})
        assert answer.status_code == 404
        assert answer.json()["request_id"] == answer.headers["x-request-id"] == "ticket-7"

        def told(service: str) -> list[dict[str, Any]]:
            return [line for line in log_lines(node, service) if line.get("request_id") == "ticket-7"]

        await eventually(lambda: told("api") and told("manager"))
        (at_api,), (at_manager,) = told("api"), told("manager")
        assert (at_api["event"], at_api["status"], at_api["trace_id"]) == ("http_answered", 404, TRACE_ID)
        assert (at_manager["event"], at_manager["outcome"]) == ("request_answered", "not_found")
        assert at_manager["trace_id"] == TRACE_ID


async def test_an_agent_logs_and_carries_on_the_trace_it_was_asked_with(tmp_path: Path) -> None:
    async with node_under_test(tmp_path) as node:
        write_package(node.packages, "talkative", 'version: "1"\nentrypoint: agent.py\n', TALKATIVE)
        await node.up()
        await node.until("talkative", "running")
        body = json.dumps({"command": "work", "params": {}, "timestamp": "2030-01-01T00:00:00Z", "id": "job-1"})
        async with node.bus() as bus:
            answer = await bus.request(
                "agent.talkative.command", body.encode(), timeout=20.0, headers={"Traceparent": PARENT}
            )
        carried = json.loads(answer.data)["result"]
        assert carried == {"traceparent": PARENT, "X-Request-Id": "job-1"}
        log = node.data_dir / "logs" / "agents" / "talkative_0.err.log"
        line = f"at work [request_id=job-1 trace_id={TRACE_ID}]"
        await eventually(lambda: line in log.read_text(encoding="utf-8"))


async def test_one_trace_spans_from_http_to_the_started_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiving_spans() as receiver, node_under_test(tmp_path) as node:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        manifest = 'version: "1"\ncommand: ["sleep", "1000"]\nheartbeat: none\nautostart: false\n'
        write_package(node.packages, "sleeper", manifest)
        await node.up()
        await eventually(lambda: node.agent("sleeper"))
        url = f"{node.state['api_url']}/api/v1/agents/sleeper/start"
        started = await node.http.post(url, params={"wait": 20}, headers={"traceparent": PARENT})
        assert started.status_code == httpx.codes.OK
        expected = {
            ("management-api", "http POST"),
            ("agent-manager", "nats agents.start"),
            ("agent-manager", "store write"),
            ("agent-manager", "spawn"),
        }
        await eventually(lambda: expected <= receiver.of_trace(TRACE_ID))
