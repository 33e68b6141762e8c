"""The bus from an agent's point of view: sharing, reconnecting, being refused, being discovered, metrics."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from nats import errors as nats_errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from agent_manager.nats_access import environment as bus_environment
from agent_manager.ports.identities import LaunchName
from agent_manager.protocol import environment, subjects
from agent_manager.protocol.messages import Response
from tests.harness.nats_server import NatsHarness, running_nats
from tests.harness.waiting import eventually
from tests.integration.sdk.running_agent import envelope, launch_environment, running_agent, start_process

AGENT = """
import asyncio
from pathlib import Path

from agent_manager.sdk import Agent

agent = Agent(metrics_interval_s=0.1)


@agent.command("who")
async def who(params):
    return agent.instance_id


@agent.command("count")
def count(params):
    agent.metrics.increment("documents")
    agent.metrics.set("queue.length", params["length"])


@agent.command("answer-later")
async def answer_later(params):
    while not Path("may-answer").exists():
        await asyncio.sleep(0.01)
    Path("answered").touch()


agent.run()
"""


async def answers_of(nats: NatsHarness, number: int) -> Counter[str]:
    """Which instances answered that many requests to the agent."""
    client = await nats.connect_as_manager()
    subject = subjects.agent_command("worker")
    return Counter([answering(await client.request(subject, envelope("who"), timeout=60)) for _ in range(number)])


def answering(message: Msg) -> str:
    """The instance that carried `who` out."""
    return str(Response.model_validate_json(message.data).result)


async def test_instances_share_what_is_addressed_to_their_agent(nats: NatsHarness, folder: Path) -> None:
    async with running_agent(nats, folder, AGENT) as first, running_agent(nats, folder, AGENT, ordinal=1) as second:
        counts = await answers_of(nats, 100)
        assert counts.keys() == {"worker_0", "worker_1"}
        assert counts.total() == 100
        assert (await first.ask("who")).result == "worker_0"
        assert (await second.ask("who")).result == "worker_1"


async def test_a_draining_instance_leaves_the_agents_commands_to_the_others(nats: NatsHarness, folder: Path) -> None:
    async with running_agent(nats, folder, AGENT) as first, running_agent(nats, folder, AGENT, ordinal=1):
        assert (await first.ask("drain")).result == {"drained": True}
        assert await answers_of(nats, 30) == {"worker_1": 30}
        assert (await first.ask("ping")).result["status"] == "draining"


async def test_commands_on_their_way_to_a_draining_instance_are_carried_out(nats: NatsHarness, folder: Path) -> None:
    async with running_agent(nats, folder, AGENT), running_agent(nats, folder, AGENT, ordinal=1):
        client = await nats.connect_as_manager()
        drained, *others = await asyncio.gather(
            client.request("agent.worker_0.command", envelope("drain"), timeout=60),
            *(client.request("agent.worker.command", envelope("who"), timeout=60) for _ in range(2_000)),
        )
        assert Response.model_validate_json(drained.data).result == {"drained": True}
        assert {answering(message) for message in others} <= {"worker_0", "worker_1"}


async def test_the_last_instance_draining_leaves_nobody_to_answer(nats: NatsHarness, folder: Path) -> None:
    async with running_agent(nats, folder, AGENT) as agent:
        await agent.ask("drain")
        with pytest.raises(nats_errors.NoRespondersError):
            await answers_of(nats, 1)


async def test_heartbeats_and_commands_go_on_after_the_server_was_killed(nats: NatsHarness, folder: Path) -> None:
    async with running_agent(nats, folder, AGENT) as agent:
        await nats.kill()
        await eventually(lambda: "reconnecting" in agent.output)
        last = agent.heartbeats[-1].number
        await nats.start()
        await eventually(lambda: agent.heartbeats[-1].number >= last + 3)
        numbers = [report.number for report in agent.heartbeats]
        assert numbers == sorted(set(numbers))
        assert (await agent.ask("who")).result == "worker_0"
        assert (await answers_of(nats, 3)).total() == 3
        assert agent.process.poll() is None


async def test_the_agent_stops_cleanly_while_the_server_is_away(nats: NatsHarness, folder: Path) -> None:
    async with running_agent(nats, folder, AGENT) as agent:
        await nats.kill()
        await eventually(lambda: "reconnecting" in agent.output)
        agent.terminate()
        assert await agent.ends() == 0


async def test_an_answer_that_cannot_be_sent_any_more_does_not_disturb_the_stop(
    nats: NatsHarness, folder: Path
) -> None:
    async with running_agent(nats, folder, AGENT) as agent:
        client = await nats.connect_as_manager()
        await client.publish("agent.worker_0.command", envelope("answer-later"))
        await eventually(lambda: agent.heartbeats[-1].load > 0)
        await nats.kill()
        await eventually(lambda: "reconnecting" in agent.output)
        (folder / "may-answer").touch()
        await eventually((folder / "answered").exists)
        agent.terminate()
        assert await agent.ends() == 0


def short_lived(nats: NatsHarness, folder: Path, lifetime_s: float) -> str:
    """A credentials file of the launch that expires; written in one step, as its renewal is."""
    issued = nats.identities_for(lifetime_s=lifetime_s).issue(LaunchName("worker", "worker_0", "launch-0"))
    shutil.copy(issued, folder / "new.creds")
    return str((folder / "new.creds").rename(folder / "short-lived.creds"))


async def test_credentials_renewed_in_time_are_taken_up_without_a_command_or_an_answer_being_lost(
    nats: NatsHarness, folder: Path
) -> None:
    credentials = short_lived(nats, folder, 5)
    async with running_agent(nats, folder, AGENT, variables={bus_environment.NATS_CREDS: credentials}) as agent:
        client = await nats.connect_as_manager()
        slow = asyncio.create_task(client.request("agent.worker_0.command", envelope("answer-later"), timeout=60))
        await eventually(lambda: agent.heartbeats[-1].load > 0)
        short_lived(nats, folder, 600)
        answers = []

        async def replaced() -> bool:
            # To the agent and to the instance in turn, until well after the hand-over.
            for subject in ("agent.worker.command", "agent.worker_0.command"):
                answers.append(answering(await client.request(subject, envelope("who"), timeout=60)))
            return "the connection to NATS was replaced" in agent.output

        await eventually(replaced)
        for _ in range(200):
            await replaced()
        # It was asked over the connection that has been replaced, on which alone the server lets it be answered.
        (folder / "may-answer").touch()
        assert Response.model_validate_json((await slow).data).status == "success"
        assert set(answers) == {"worker_0"}
        numbers = [report.number for report in agent.heartbeats]
        assert numbers == list(range(1, len(numbers) + 1))
        assert "reconnecting" not in agent.output


async def test_an_agent_whose_credentials_have_expired_goes_on_when_they_are_renewed(
    nats: NatsHarness, folder: Path
) -> None:
    credentials = short_lived(nats, folder, 3)
    async with running_agent(nats, folder, AGENT, variables={bus_environment.NATS_CREDS: credentials}) as agent:
        await eventually(lambda: "has expired; whoever issued it must renew it" in agent.output)
        last = agent.heartbeats[-1].number
        short_lived(nats, folder, 600)
        await eventually(lambda: agent.heartbeats[-1].number > last)
        assert (await agent.ask("who")).result == "worker_0"
        assert (await answers_of(nats, 3)).total() == 3
        assert agent.process.poll() is None


async def test_credentials_refused_on_reconnection_end_the_agent_too(
    nats: NatsHarness, folder: Path, tmp_path: Path
) -> None:
    async with running_nats(tmp_path / "other") as other, running_agent(nats, folder, AGENT) as agent:
        foreign = other.identities.issue(LaunchName("worker", "worker_0", "launch-0"))
        shutil.copy(foreign, launch_environment(nats)[bus_environment.NATS_CREDS])
        await nats.restart()
        assert await agent.ends() == 75


async def test_credentials_refused_at_the_first_connection_are_tried_again(
    nats: NatsHarness, folder: Path, tmp_path: Path
) -> None:
    async with running_nats(tmp_path / "other") as other:
        foreign = {bus_environment.NATS_CREDS: other.identities.issue(LaunchName("worker", "worker_0", "launch-0"))}
        async with running_agent(nats, folder, AGENT, until=None, variables=foreign) as agent:
            await eventually(lambda: "trying again" in agent.output)
            # A server that hangs up on what it has not read takes its reason along; it is asked again.
            await eventually(lambda: "Authorization Violation" in agent.output)
            agent.terminate()
            assert await agent.ends() == 0


async def test_metrics_are_reported_when_they_change(nats: NatsHarness, folder: Path) -> None:
    async with running_agent(nats, folder, AGENT) as agent:
        await agent.ask("count", {"length": 3})
        await agent.ask("count", {"length": 2})
        await eventually(lambda: agent.metrics and agent.metrics[-1].counters == {"documents": 2, "queue.length": 2})
        reports = len(agent.metrics)
        beats = len(agent.heartbeats)
        await eventually(lambda: len(agent.heartbeats) > beats + 3)
        assert len(agent.metrics) == reports


async def test_the_last_metrics_are_reported_at_the_end(nats: NatsHarness, folder: Path) -> None:
    async with running_agent(nats, folder, AGENT.replace("0.05", "1000")) as agent:
        await agent.ask("count", {"length": 3})
        agent.terminate()
        assert await agent.ends() == 0
        await eventually(lambda: [report.counters for report in agent.metrics] == [{"documents": 1, "queue.length": 3}])


async def discovered(nats: NatsHarness, subject: str) -> dict[str, Any]:
    """The answer of the only service to a discovery request."""
    client = await nats.connect_as_manager()
    document: dict[str, Any] = json.loads((await client.request(subject, timeout=60)).data)
    return document


@pytest.mark.parametrize("address", ["", ".worker", ".worker.launch-0"])
async def test_the_agent_is_a_micro_service(nats: NatsHarness, folder: Path, address: str) -> None:
    async with running_agent(nats, folder, AGENT):
        ping = await discovered(nats, f"$SRV.PING{address}")
        assert ping == {
            "type": "io.nats.micro.v1.ping_response",
            "name": "worker",
            "id": "launch-0",
            "version": "1.2.3",
            "metadata": {"instance_id": "worker_0", "launch_id": "launch-0", "node_id": "node-1"},
        }


async def test_its_endpoints_and_their_statistics_can_be_read(nats: NatsHarness, folder: Path) -> None:
    async with running_agent(nats, folder, AGENT) as agent:
        await agent.ask("who")
        await agent.ask("unheard-of")
        info = await discovered(nats, "$SRV.INFO.worker")
        endpoints = [(each["name"], each["subject"], each["queue_group"]) for each in info["endpoints"]]
        assert endpoints == [
            ("command", "agent.worker.command", "worker"),
            ("query", "agent.worker.query", "worker"),
        ]
        command, query = (await discovered(nats, "$SRV.STATS.worker"))["endpoints"]
        assert (command["num_requests"], command["num_errors"]) == (2, 1)
        assert "unheard-of" in command["last_error"]
        assert command["average_processing_time"] > 0
        assert (query["num_requests"], query["last_error"]) == (0, "")


async def test_a_version_that_is_not_semantic_is_announced_as_zero(nats: NatsHarness, folder: Path) -> None:
    async with running_agent(nats, folder, AGENT, variables={environment.AGENT_VERSION: "nightly"}):
        assert (await discovered(nats, "$SRV.PING.worker"))["version"] == "0.0.0"


async def test_an_agent_can_be_run_by_hand(nats: NatsHarness, folder: Path) -> None:
    # As a service it may not report itself; that the server says so does not end it.
    credentials = str(nats.files.service_credentials)
    variables = {
        bus_environment.NATS_URL: nats.url,
        environment.AGENT_ID: "worker",
        bus_environment.NATS_CREDS: credentials,
    }
    process = start_process(AGENT, variables, folder / "agent.log")
    try:
        service = await nats.connect_as_service()
        await eventually(lambda: _answers(service))
        answer = await service.request("agent.worker_manual.command", envelope("who"), timeout=60)
        assert Response.model_validate_json(answer.data).result == "worker_manual"
        process.terminate()
        await eventually(lambda: process.poll() is not None)
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()


async def _answers(client: Client) -> bool:
    try:
        await client.request("agent.worker.command", envelope("ping"), timeout=60)
    except nats_errors.NoRespondersError:
        return False
    return True
