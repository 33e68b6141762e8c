"""What a launch may say and hear, tried on a real server."""

from __future__ import annotations

import json
import time
from pathlib import Path

import nats.micro
import pytest
from nats.aio.client import Client
from nats.errors import NoRespondersError
from nats.js.api import RetentionPolicy
from nats.micro.service import ServiceConfig

from agent_manager.adapters.nats.credentials import LaunchIdentities
from agent_manager.ports.identities import LaunchName
from agent_manager.protocol import subjects
from tests.harness.fakes import FakeClock
from tests.harness.nats_server import NODE_ID, NatsHarness, settle
from tests.harness.permissions import may_publish, may_subscribe


async def connect_echo(nats: NatsHarness) -> Client:
    return await nats.connect_as_launch("echo", "echo_0", "launch1")


@pytest.mark.parametrize(
    "subject",
    [
        f"agent.status.{NODE_ID}.echo_0.launch1",
        f"agent.metrics.{NODE_ID}.echo_0.launch1",
        "agent.call.echo_0.launch1.state.get",
        "task.result.echo_0.launch1.t1",
        "task.output.echo_0.launch1.t1",
        "agent.echo.response",
    ],
)
async def test_a_launch_speaks_for_itself(nats: NatsHarness, subject: str) -> None:
    assert await may_publish(nats, await connect_echo(nats), subject)


@pytest.mark.parametrize(
    "subject",
    [
        f"agent.status.{NODE_ID}.other_0.launch1",
        f"agent.status.{NODE_ID}.echo_1.launch1",
        f"agent.status.{NODE_ID}.echo_0.launch0",
        "agent.status.node-2.echo_0.launch1",
        f"agent.metrics.{NODE_ID}.other_0.launch1",
        "agent.call.other_0.launch1.state.get",
        "agent.call.echo_0.launch0.state.get",
        "task.result.other_0.launch1.t1",
        "task.result.echo_0.launch0.t1",
        "task.output.other_0.launch1.t1",
        "agent.other.response",
        "agent.status",
        "agent.metrics",
        "agent.event.echo.instance_started",
        "_INBOX_manager.abc.def",
        "_INBOX_other_0_launch2.abc.def",
    ],
)
async def test_a_launch_does_not_speak_as_another(nats: NatsHarness, subject: str) -> None:
    assert not await may_publish(nats, await connect_echo(nats), subject)


@pytest.mark.parametrize(
    "subject",
    [
        "agent.manager.command",
        "agent.manager.query",
        "agent.manager.agents.stop",
        "agent.manager.api.agents.stop",
        f"agent.manager.node.{NODE_ID}.drain",
        "agent.other.command",
        "agent.other_0.command",
        "agent.other_0.task",
        "agent.echo.command",
        "agent.echo_0.task",
        "$JS.API.STREAM.PURGE.TASK_RESULTS",
        "$SRV.PING",
        "anything",
    ],
)
async def test_a_launch_orders_nobody_about(nats: NatsHarness, subject: str) -> None:
    assert not await may_publish(nats, await connect_echo(nats), subject)


@pytest.mark.parametrize(
    "subject",
    [
        "agent.echo.command",
        "agent.echo.query",
        "agent.echo_0.command",
        "agent.echo_0.task",
        "agent.echo_0.message",
        "_INBOX_echo_0_launch1.abc.def",
        "$SRV.PING",
        "$SRV.INFO.echo",
        "$SRV.STATS.echo.service1",
    ],
)
async def test_a_launch_hears_what_is_meant_for_it(nats: NatsHarness, subject: str) -> None:
    assert await may_subscribe(nats, await connect_echo(nats), subject)


@pytest.mark.parametrize(
    ("pattern", "probe"),
    [
        ("agent.other.command", None),
        ("agent.other_0.>", "agent.other_0.task"),
        ("agent.echo_1.>", "agent.echo_1.task"),
        ("agent.*.command", "agent.other.command"),
        ("agent.>", "agent.manager.command"),
        ("_INBOX_echo_0_launch0.>", "_INBOX_echo_0_launch0.abc.def"),
        ("_INBOX_other_0_launch2.>", "_INBOX_other_0_launch2.abc.def"),
        ("_INBOX_manager.>", "_INBOX_manager.abc.def"),
        ("_INBOX.>", "_INBOX.abc"),
        ("task.result.>", "task.result.other_0.launch2.t1"),
        ("agent.status.>", f"agent.status.{NODE_ID}.other_0.launch2"),
        ("$SRV.PING.other", None),
        (">", "anything"),
    ],
)
async def test_a_launch_does_not_hear_what_is_meant_for_others(
    nats: NatsHarness, pattern: str, probe: str | None
) -> None:
    assert not await may_subscribe(nats, await connect_echo(nats), pattern, probe=probe)


@pytest.mark.parametrize("own", ["agent.echo.command", "agent.echo_0.task", "_INBOX_echo_0_launch1.a", "$SRV.PING"])
async def test_a_launch_cannot_send_itself_a_request_to_be_allowed_its_reply(nats: NatsHarness, own: str) -> None:
    agent = await connect_echo(nats)
    asked = await agent.subscribe(own)

    assert not await may_publish(nats, agent, own, reply="agent.manager.agents.stop")

    assert asked.pending_msgs == 0
    assert not await may_publish(nats, agent, "agent.manager.agents.stop")


async def test_a_launch_answers_what_it_was_asked_and_nothing_else(nats: NatsHarness) -> None:
    agent, manager = await connect_echo(nats), await nats.connect_as_manager()
    asked = await agent.subscribe("agent.echo_0.task")
    await settle(agent)
    answers = await manager.subscribe("_INBOX_manager.answers.>")
    await manager.publish("agent.echo_0.task", b"", reply="_INBOX_manager.answers.1")
    request = await asked.next_msg(timeout=20)

    await request.respond(b"accepted")
    await agent.publish("_INBOX_manager.answers.2", b"not asked")

    await settle(agent, manager)
    assert (await answers.next_msg(timeout=20)).data == b"accepted"
    assert answers.pending_msgs == 0


async def test_a_request_to_an_agent_that_nobody_runs_fails_at_once(nats: NatsHarness) -> None:
    manager = await nats.connect_as_manager()
    with pytest.raises(NoRespondersError):
        await manager.request("agent.echo_0.task", b"", timeout=20)


async def test_a_launch_stores_results_and_sees_the_acknowledgement(nats: NatsHarness) -> None:
    manager, agent = await nats.connect_as_manager(), await connect_echo(nats)
    await manager.jetstream().add_stream(
        name="TASK_RESULTS", subjects=["task.result.>"], retention=RetentionPolicy.WORK_QUEUE
    )

    acknowledged = await agent.jetstream().publish("task.result.echo_0.launch1.t1", b"42", timeout=20)

    assert (acknowledged.stream, acknowledged.seq) == ("TASK_RESULTS", 1)


async def test_what_a_stream_says_on_a_launchs_behalf_carries_no_reply_subject_and_no_words_of_its_own(
    nats: NatsHarness,
) -> None:
    """The server sends its acknowledgement wherever the publisher wishes: managers must not act on such a message."""
    manager, agent = await nats.connect_as_manager(), await connect_echo(nats)
    await manager.jetstream().add_stream(name="TASK_RESULTS", subjects=["task.result.>"])
    operation = await manager.subscribe("agent.manager.agents.stop")
    await settle(manager)

    await agent.publish("task.result.echo_0.launch1.t1", b'{"agent_id": "other"}', reply="agent.manager.agents.stop")

    message = await operation.next_msg(timeout=20)
    assert message.reply == ""
    assert message.headers is None
    assert json.loads(message.data) == {"stream": "TASK_RESULTS", "seq": 1}


async def test_a_trace_of_a_launchs_message_goes_nowhere_it_may_not_publish(nats: NatsHarness) -> None:
    manager, agent = await nats.connect_as_manager(), await connect_echo(nats)
    operation = await manager.subscribe("agent.manager.>")
    await settle(manager)

    await agent.publish("task.output.echo_0.launch1.t1", b"", headers={"Nats-Trace-Dest": "agent.manager.agents.stop"})

    await settle(agent, manager)
    assert operation.pending_msgs == 0
    assert "permissions violation" in str(nats.errors[0])


@pytest.mark.parametrize("verb", ["PING", "INFO", "STATS"])
async def test_a_launch_is_a_micro_service_named_after_its_agent(nats: NatsHarness, verb: str) -> None:
    agent, service = await connect_echo(nats), await nats.connect_as_service()
    async with await add_service(agent) as micro:
        await settle(agent)
        for subject in (f"$SRV.{verb}", f"$SRV.{verb}.echo", f"$SRV.{verb}.echo.{micro.id}"):
            answer = json.loads((await service.request(subject, b"", timeout=20)).data)
            assert (answer["name"], answer["id"]) == ("echo", micro.id)
    assert nats.errors == []


async def add_service(agent: Client) -> nats.micro.service.Service:
    return await nats.micro.add_service(agent, ServiceConfig(name="echo", version="1.0.0"))


async def test_two_launches_share_the_requests_to_their_agent(nats: NatsHarness) -> None:
    first = await connect_echo(nats)
    second = await nats.connect_as_launch("echo", "echo_1", "launch2")
    manager = await nats.connect_as_manager()
    shares = [await agent.subscribe("agent.echo.command", queue="echo") for agent in (first, second)]
    await settle(first, second)

    for _ in range(100):
        await manager.publish("agent.echo.command", b"")
    await settle(manager, first, second)

    assert [share.pending_msgs > 0 for share in shares] == [True, True]
    assert sum(share.pending_msgs for share in shares) == 100


@pytest.mark.parametrize("ahead_s", [-1_800.0, 1_800.0])
async def test_clocks_may_differ_by_less_than_half_a_lifetime(nats: NatsHarness, ahead_s: float) -> None:
    identities = LaunchIdentities(
        directory=nats.files.launch_credentials,
        directory_of_others=nats.files.launch_credentials.with_name("others"),
        issuer=nats.prepared.keyring.issuer,
        node_id=NODE_ID,
        clock=FakeClock(wall=time.time() + ahead_s),
        lifetime_s=4_000,
    )
    path = identities.issue(LaunchName("echo", "echo_0", "launch1"))
    client = await nats.connect(Path(path), subjects.inbox_prefix("echo_0", "launch1"))
    await client.flush()
