"""Requests from the manager to one instance."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from agent_manager.adapters.nats.agent_channel import NatsAgentChannel
from agent_manager.domain.errors import UnavailableError
from agent_manager.protocol import tracing
from agent_manager.protocol.messages import Envelope
from tests.harness.nats_server import NatsHarness, settle

SUCCESS = {"status": "success", "command": "drain", "result": {"left": 2}, "timestamp": "2030-01-01T00:00:00Z"}


async def agent(nats: NatsHarness, answer: Callable[[Msg], Awaitable[None]]) -> Client:
    launch = await nats.connect_as_launch("echo", "echo_0", "launch1")
    await launch.subscribe("agent.echo_0.command", cb=answer)
    await settle(launch)
    return launch


async def channel(nats: NatsHarness) -> NatsAgentChannel:
    manager = await nats.connect_as_manager()
    return NatsAgentChannel(lambda: manager)


async def test_a_request_reaches_the_instance_and_its_result_comes_back(nats: NatsHarness) -> None:
    asked: list[Envelope] = []

    async def answer(message: Msg) -> None:
        asked.append(Envelope.model_validate_json(message.data))
        await message.respond(json.dumps(SUCCESS).encode())

    await agent(nats, answer)
    result = await (await channel(nats)).ask("echo_0", "drain", {"grace": 1}, timeout_s=10.0)
    assert result == {"left": 2}
    (request,) = asked
    assert (request.command, request.params) == ("drain", {"grace": 1})
    assert request.id is not None
    assert request.deadline is not None
    assert (request.deadline - request.timestamp).total_seconds() == 10.0


async def test_where_nobody_listens_that_is_said_at_once(nats: NatsHarness) -> None:
    with pytest.raises(UnavailableError, match="echo_0 does not listen on the bus"):
        await (await channel(nats)).ask("echo_0", "drain", {}, timeout_s=3600.0)


async def test_an_instance_that_does_not_answer_is_waited_for_as_long_as_was_said(nats: NatsHarness) -> None:
    async def ignore(_: Msg) -> None:
        return

    await agent(nats, ignore)
    with pytest.raises(UnavailableError, match=r"echo_0 did not answer drain within 0.05 s"):
        await (await channel(nats)).ask("echo_0", "drain", {}, timeout_s=0.05)


async def test_a_refusal_carries_the_words_of_the_instance(nats: NatsHarness) -> None:
    async def refuse(message: Msg) -> None:
        error = {"code": "unsupported", "message": "drain is not for me"}
        await message.respond(json.dumps({**SUCCESS, "status": "error", "error": error}).encode())

    await agent(nats, refuse)
    with pytest.raises(UnavailableError, match="echo_0 refused drain: drain is not for me"):
        await (await channel(nats)).ask("echo_0", "drain", {}, timeout_s=10.0)


@pytest.mark.parametrize("answer", [b"", b"\xff", b"[]", b"{}", b'{"status": "perhaps"}'])
async def test_an_answer_that_is_none_is_an_error_and_nothing_more(nats: NatsHarness, answer: bytes) -> None:
    async def respond(message: Msg) -> None:
        await message.respond(answer)

    await agent(nats, respond)
    with pytest.raises(UnavailableError, match="answered drain with something unreadable"):
        await (await channel(nats)).ask("echo_0", "drain", {}, timeout_s=10.0)


@pytest.mark.parametrize("result", [None, {}])
async def test_an_answer_without_a_result_is_an_empty_one(nats: NatsHarness, result: Any) -> None:
    async def respond(message: Msg) -> None:
        await message.respond(json.dumps({**SUCCESS, "result": result}).encode())

    await agent(nats, respond)
    assert await (await channel(nats)).ask("echo_0", "drain", {}, timeout_s=10.0) == {}


@pytest.mark.parametrize("result", ["drained", 5, True, [1], []])
async def test_a_result_that_is_no_object_is_an_error_and_nothing_more(nats: NatsHarness, result: Any) -> None:
    async def respond(message: Msg) -> None:
        await message.respond(json.dumps({**SUCCESS, "result": result}).encode())

    await agent(nats, respond)
    with pytest.raises(UnavailableError, match="answered drain with a result that is no object"):
        await (await channel(nats)).ask("echo_0", "drain", {}, timeout_s=10.0)


async def test_without_a_bus_nobody_is_waited_for() -> None:
    with pytest.raises(UnavailableError, match="the bus is not connected"):
        await NatsAgentChannel(lambda: None).ask("echo_0", "drain", {}, timeout_s=3600.0)


async def test_a_client_that_is_closed_is_an_error_like_any_other(nats: NatsHarness) -> None:
    manager = await nats.connect_as_manager()
    await manager.close()
    with pytest.raises(UnavailableError):
        await NatsAgentChannel(lambda: manager).ask("echo_0", "drain", {}, timeout_s=10.0)


async def test_a_request_carries_the_trace_it_is_made_for(nats: NatsHarness) -> None:
    carried: list[dict[str, str]] = []

    async def answer(message: Msg) -> None:
        carried.append(dict(message.headers or {}))
        await message.respond(json.dumps(SUCCESS).encode())

    await agent(nats, answer)
    asking = await channel(nats)
    with tracing.bound(tracing.received({"x-request-id": "ticket-7"})) as trace:
        await asking.ask("echo_0", "drain", {}, timeout_s=10.0)
    await asking.ask("echo_0", "drain", {}, timeout_s=10.0)
    assert carried == [{"traceparent": trace.traceparent, "X-Request-Id": "ticket-7"}, {}]
