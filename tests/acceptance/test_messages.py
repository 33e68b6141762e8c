"""Whatever is sent to the manager: an error that says what is wrong, and nothing else is disturbed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import nats
import nats.errors
import pytest
from nats.aio.client import Client

from agent_manager.protocol.operations import OPERATIONS
from tests.harness.agents import sdk_agent
from tests.harness.node import Node, settle

NOW = datetime.now(UTC).isoformat()

MALFORMED = [
    b"\xff\xfe\x00garbage",
    b"{",
    b"[]",
    b'"start"',
    b"null",
    b"[" * 100_000,
    json.dumps({"agent_id": 7, "params": "x", "deadline": "soon"}).encode(),
    b'{"agent_id": "' + b"x" * 900_000 + b'"}',
    b"x" * 4_000_000,
]

SUBJECTS = [
    "agent.manager.command",
    "agent.manager.query",
    *(f"agent.manager.{operation.resource}.{operation.verb}" for operation in OPERATIONS),
]


async def ask(bus: Client, subject: str, body: bytes) -> dict[str, Any]:
    answer = await bus.request(subject, body, timeout=30.0)
    response: dict[str, Any] = json.loads(answer.data)
    if response["status"] == "error":
        assert answer.headers is not None
        assert answer.headers["Nats-Service-Error-Code"] == response["error"]["code"]
        assert answer.headers["Nats-Service-Error"]
    return response


def envelope(**changes: Any) -> bytes:
    whole = {"command": "status", "agent_id": "steady", "params": {}, "timestamp": NOW}
    return json.dumps({key: value for key, value in {**whole, **changes}.items() if value is not ...}).encode()


async def speak_nonsense_as_launches(node: Node) -> None:
    """On the subjects of heartbeats and metrics, which only the node itself and its launches may use."""
    node_id = (await node.get("/nodes"))["items"][0]["id"]
    client = await nats.connect(node.state["nats_url"], user_credentials=str(node.data_dir / "nats" / "manager.creds"))
    try:
        for kind in ("status", "metrics"):
            for body in MALFORMED:
                await client.publish(f"agent.{kind}.{node_id}.steady_0.of-yesterday", body)
                await client.publish(f"agent.{kind}.{node_id}.NOT-an-instance.x", body)
        await settle(client)
    finally:
        await client.close()


async def test_malformed_huge_and_wrong_typed_messages_are_answered_and_disturb_nothing(node: Node) -> None:
    sdk_agent(node.packages, "steady", extra="heartbeat: {interval_s: 0.3, timeout_s: 5}\n")
    await node.up()
    before = await node.until("steady", "running")
    async with node.bus() as bus:
        for subject in SUBJECTS:
            for body in MALFORMED:
                response = await ask(bus, subject, body)
                assert response["status"] == "error"
                assert response["error"]["code"] in ("invalid_request", "too_large")
                assert "Traceback" not in response["error"]["message"]
                assert len(response["error"]["message"]) < 5_000
        manager = node.pid("manager")
        for body in MALFORMED:
            await bus.publish("agent.manager.command", body)
        answered = await node.command(bus, "status", "steady")
    await speak_nonsense_as_launches(node)
    assert answered["status"] == "success"
    assert node.pid("manager") == manager
    assert (await node.until("steady", "running"))["pid"] == before["pid"]


async def test_a_missing_field_is_named(node: Node) -> None:
    await node.up()
    async with node.bus() as bus:
        for field in ("command", "agent_id", "params", "timestamp"):
            response = await ask(bus, "agent.manager.command", envelope(**{field: ...}))
            assert response["error"]["code"] == "invalid_request"
            assert field in response["error"]["message"]


async def test_what_is_asked_wrongly_is_answered_with_what_is_right(node: Node) -> None:
    sdk_agent(node.packages, "steady")
    await node.up()
    await node.until("steady", "running")
    past = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    async with node.bus() as bus:
        cases: list[tuple[str, bytes, str, str]] = [
            ("agent.manager.command", envelope(command="dance"), "invalid_request", "agents.start"),
            ("agent.manager.command", envelope(agent_id="nobody"), "not_found", "nobody"),
            ("agent.manager.command", envelope(agent_id="Not Valid"), "invalid_request", "lower-case"),
            ("agent.manager.command", envelope(agent_id="manager"), "invalid_request", "reserved"),
            ("agent.manager.command", envelope(deadline=past), "stale", "deadline"),
            ("agent.manager.command", envelope(command="start", params={"wait_s": -1}), "invalid_request", "wait_s"),
            ("agent.manager.query", envelope(command="stop"), "invalid_request", "agent.manager.command"),
            ("agent.manager.agents.get", b"", "invalid_request", "agent_id"),
            ("agent.manager.agents.list", b'{"params": {"page_size": 0}}', "invalid_request", "page_size"),
            (
                "agent.manager.agents.logs",
                json.dumps({"agent_id": "steady", "params": {"instance_id": "other_0"}}).encode(),
                "not_found",
                "steady_0",
            ),
        ]
        for subject, body, code, words in cases:
            response = await ask(bus, subject, body)
            assert response["error"]["code"] == code, response
            assert words in response["error"]["message"], response
        listed = await ask(bus, "agent.manager.agents.list", b"")
        assert [agent["id"] for agent in listed["result"]["items"]] == ["steady"]
        extra = await ask(bus, "agent.manager.command", envelope(colour="green", id="mine"))
        assert (extra["status"], extra["id"], extra["command"]) == ("success", "mine", "status")


async def test_a_request_without_a_reply_subject_is_answered_where_everybody_can_see(node: Node) -> None:
    sdk_agent(node.packages, "steady")
    await node.up()
    await node.until("steady", "running")
    async with node.bus() as bus:
        answers = await bus.subscribe("agent.manager.response")
        await settle(bus)
        await bus.publish("agent.manager.command", envelope(id="42"))
        response = json.loads((await answers.next_msg(timeout=30.0)).data)
    assert (response["id"], response["status"], response["agent_id"]) == ("42", "success", "steady")


async def test_nobody_is_answered_in_a_place_where_an_answer_would_be_a_request(node: Node) -> None:
    """JetStream acknowledges to any reply subject an agent names: an operation must not take that for a request."""
    sdk_agent(node.packages, "steady")
    await node.up()
    before = await node.until("steady", "running")
    async with node.bus() as bus:
        answers = await bus.subscribe("agent.manager.response")
        await settle(bus)
        restart = json.dumps({"agent_id": "steady"}).encode()
        await bus.publish("agent.manager.agents.restart", restart)
        await bus.publish("agent.manager.agents.get", restart, reply="agent.manager.agents.restart")
        for _ in range(2):
            refused = json.loads((await answers.next_msg(timeout=30.0)).data)
            assert refused["error"]["code"] == "invalid_request"
            assert "reply subject" in refused["error"]["message"]
    assert (await node.until("steady", "running"))["pid"] == before["pid"]


async def test_services_may_neither_pass_for_the_api_nor_speak_as_an_agent(node: Node) -> None:
    sdk_agent(node.packages, "steady")
    await node.up()
    await node.until("steady", "running")
    async with node.bus() as bus:
        with pytest.raises((nats.errors.TimeoutError, nats.errors.NoRespondersError)):
            await bus.request("agent.manager.api.agents.list", b"", timeout=1.0)


async def test_the_manager_is_a_micro_service_and_its_agents_are_too(node: Node) -> None:
    sdk_agent(node.packages, "steady")
    await node.up()
    await node.until("steady", "running")
    async with node.bus() as bus:
        info = json.loads((await bus.request("$SRV.INFO.agent-manager", b"", timeout=30.0)).data)
        assert info["metadata"]["node_id"] == (await node.get("/nodes"))["items"][0]["id"]
        assert {endpoint["subject"] for endpoint in info["endpoints"]} >= set(SUBJECTS)
        agent = json.loads((await bus.request("$SRV.INFO.steady", b"", timeout=30.0)).data)
        assert agent["metadata"]["instance_id"] == "steady_0"
