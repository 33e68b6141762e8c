"""What operators' tools and the management API may say and hear, tried on a real server."""

from __future__ import annotations

import json

import pytest

from tests.harness.nats_server import NODE_ID, NatsHarness, settle
from tests.harness.permissions import may_publish, may_subscribe

OF_OTHERS_ALONE = [
    "agent.manager.api.agents.stop",
    f"agent.manager.node.{NODE_ID}.drain",
    "_INBOX_manager.abc.def",
    "_INBOX_api.abc.def",
]


@pytest.mark.parametrize(
    "subject",
    [
        "agent.manager.command",
        "agent.manager.query",
        "agent.manager.agents.stop",
        "agent.echo.command",
        "agent.echo_0.query",
        "_INBOX.abc.def",
        "$SRV.PING",
        "orders.created",
    ],
)
async def test_a_service_orders_and_publishes(nats: NatsHarness, subject: str) -> None:
    assert await may_publish(nats, await nats.connect_as_service(), subject)


@pytest.mark.parametrize(
    "subject",
    [
        *OF_OTHERS_ALONE,
        f"agent.status.{NODE_ID}.echo_0.launch1",
        f"agent.metrics.{NODE_ID}.echo_0.launch1",
        "agent.call.echo_0.launch1.state.get",
        "task.result.echo_0.launch1.t1",
        "task.output.echo_0.launch1.t1",
        "agent.event.echo.instance_started",
        "task.event.t1.succeeded",
        "agent.log.echo_0.out",
        "$JS.API.STREAM.CREATE.forged",
        "$JS.ACK.TASK_RESULTS.recorder.1.1.1.1.0",
    ],
)
async def test_a_service_does_not_speak_as_another(nats: NatsHarness, subject: str) -> None:
    assert not await may_publish(nats, await nats.connect_as_service(), subject)


@pytest.mark.parametrize(
    ("pattern", "probe"),
    [
        ("agent.event.>", "agent.event.echo.instance_started"),
        ("task.result.>", "task.result.echo_0.launch1.t1"),
        ("agent.status", "agent.status"),
        ("_INBOX.>", "_INBOX.abc.def"),
        (">", "orders.created"),
    ],
)
async def test_a_service_follows(nats: NatsHarness, pattern: str, probe: str) -> None:
    assert await may_subscribe(nats, await nats.connect_as_service(), pattern, probe=probe)


@pytest.mark.parametrize("pattern", ["the subject itself", ">"])
@pytest.mark.parametrize("subject", OF_OTHERS_ALONE)
async def test_a_service_does_not_hear_what_is_meant_for_one(nats: NatsHarness, subject: str, pattern: str) -> None:
    listener = await nats.connect_as_service()
    assert not await may_subscribe(nats, listener, ">" if pattern == ">" else subject, probe=subject)


async def test_a_service_cannot_ask_itself_to_be_allowed_its_reply(nats: NatsHarness) -> None:
    service, manager = await nats.connect_as_service(), await nats.connect_as_manager()
    asked = await service.subscribe("own.subject")
    operation = await manager.subscribe("agent.manager.api.>")
    await settle(service, manager)
    await service.publish("own.subject", b"", reply="agent.manager.api.agents.stop")
    request = await asked.next_msg(timeout=20)

    await request.respond(b"forged")

    await settle(service, manager)
    assert operation.pending_msgs == 0


async def test_a_service_asks_the_manager_and_an_agent(nats: NatsHarness) -> None:
    service, manager = await nats.connect_as_service(), await nats.connect_as_manager()
    agent = await nats.connect_as_launch("echo", "echo_0", "launch1")
    operation = await manager.subscribe("agent.manager.agents.list")
    command = await agent.subscribe("agent.echo.command")
    await settle(manager, agent)

    await service.publish("agent.manager.agents.list", b"", reply="_INBOX.answers.1")
    await service.publish("agent.echo.command", b"", reply="_INBOX.answers.2")
    answers = await service.subscribe("_INBOX.answers.*")
    await settle(service)
    await (await operation.next_msg(timeout=20)).respond(b"from the manager")
    await (await command.next_msg(timeout=20)).respond(b"from the agent")

    received = {(await answers.next_msg(timeout=20)).data for _ in range(2)}
    assert received == {b"from the manager", b"from the agent"}


async def test_the_api_speaks_on_its_operations_and_hears_the_answer(nats: NatsHarness) -> None:
    api, manager = await nats.connect_as_api(), await nats.connect_as_manager()
    operation = await manager.subscribe("agent.manager.api.>")
    await settle(manager)
    await api.publish("agent.manager.api.agents.stop", b"", reply="_INBOX_api.answers.1")
    answers = await api.subscribe("_INBOX_api.answers.*")
    await settle(api)

    await (await operation.next_msg(timeout=20)).respond(json.dumps({"status": "success"}).encode())

    assert b"success" in (await answers.next_msg(timeout=20)).data


@pytest.mark.parametrize(
    "subject",
    [
        "agent.manager.agents.stop",
        "agent.manager.command",
        f"agent.manager.node.{NODE_ID}.drain",
        "agent.echo.command",
        "task.result.echo_0.launch1.t1",
        "agent.event.echo.instance_started",
        "_INBOX.abc",
        "$JS.API.STREAM.CREATE.forged",
    ],
)
async def test_the_api_speaks_nowhere_else(nats: NatsHarness, subject: str) -> None:
    assert not await may_publish(nats, await nats.connect_as_api(), subject)


@pytest.mark.parametrize(
    ("pattern", "probe", "heard"),
    [
        ("agent.event.>", "agent.event.echo.instance_started", True),
        ("_INBOX_api.>", "_INBOX_api.abc.def", True),
        ("_INBOX.>", "_INBOX.abc.def", False),
        ("_INBOX_manager.>", "_INBOX_manager.abc.def", False),
        ("agent.manager.api.>", "agent.manager.api.agents.stop", False),
        ("task.result.>", "task.result.echo_0.launch1.t1", False),
        (">", "orders.created", False),
    ],
)
async def test_the_api_hears_events_and_its_answers_only(
    nats: NatsHarness, pattern: str, probe: str, heard: bool
) -> None:
    assert await may_subscribe(nats, await nats.connect_as_api(), pattern, probe=probe) is heard


@pytest.mark.parametrize("subject", [*OF_OTHERS_ALONE, "$JS.API.INFO", "task.result.echo_0.launch1.t1"])
async def test_a_manager_speaks_and_hears_everywhere(nats: NatsHarness, subject: str) -> None:
    manager = await nats.connect_as_manager()
    assert await may_publish(nats, manager, subject)
    assert await may_subscribe(nats, manager, subject)


@pytest.mark.parametrize("subject", ["$JS.API.STREAM.INFO.EVENTS", "$JS.API.DIRECT.GET.EVENTS"])
async def test_the_api_reads_the_stream_of_events(nats: NatsHarness, subject: str) -> None:
    assert await may_publish(nats, await nats.connect_as_api(), subject)


@pytest.mark.parametrize(
    "subject",
    [
        "$JS.API.STREAM.INFO.TASK_RESULTS",
        "$JS.API.DIRECT.GET.TASK_RESULTS",
        "$JS.API.DIRECT.GET.EVENTS.agent.event.echo.running",
        "$JS.API.STREAM.MSG.GET.EVENTS",
        "$JS.API.STREAM.PURGE.EVENTS",
        "$JS.API.STREAM.DELETE.EVENTS",
        "$JS.API.STREAM.UPDATE.EVENTS",
        "$JS.API.CONSUMER.CREATE.EVENTS",
        "$JS.API.CONSUMER.CREATE.EVENTS.spy.agent.event.>",
        "$JS.API.CONSUMER.DURABLE.CREATE.EVENTS.spy",
        "agent.event.echo.running",
        "agent.log.echo_0.out",
    ],
)
async def test_the_api_has_no_other_right_over_streams_events_and_output(nats: NatsHarness, subject: str) -> None:
    assert not await may_publish(nats, await nats.connect_as_api(), subject)


@pytest.mark.parametrize(
    ("pattern", "probe"),
    [
        ("agent.event.>", "agent.event.echo.running"),
        ("task.event.>", "task.event.t1.succeeded"),
        ("agent.log.echo_0.*", "agent.log.echo_0.out"),
    ],
)
async def test_the_api_follows(nats: NatsHarness, pattern: str, probe: str) -> None:
    assert await may_subscribe(nats, await nats.connect_as_api(), pattern, probe=probe)
