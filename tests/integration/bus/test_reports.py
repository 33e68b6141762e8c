"""What launches say of themselves, and who is believed to have said it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from nats.aio.client import Client

from agent_manager.protocol import subjects
from agent_manager.protocol.messages import Message, MetricsUpdate
from agent_manager.protocol.subjects import LaunchSubject
from agent_manager.services.counters import Counters
from agent_manager.transport.reports import Reports
from tests.harness.nats_server import NODE_ID, NatsHarness, settle
from tests.harness.waiting import eventually
from tests.unit.services.bench import Bench
from tests.unit.services.bench import bench as made

NOW = "2030-01-01T00:00:00Z"


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with made() as it:
        yield it


class Listening:
    """Reports at work, and what they publish."""

    def __init__(self, bench: Bench, client: Client, *, shared: bool = False) -> None:
        self.client = client
        self.published: list[tuple[str, Message]] = []
        self.reports = Reports(
            supervisor=bench.supervisor,
            counters=bench.counters,
            publish=lambda subject, message: self.published.append((subject, message)),
            node_id=NODE_ID,
            shared=shared,
        )


@pytest.fixture
async def listening(nats: NatsHarness, bench: Bench) -> Listening:
    bench.aim()
    await bench.started()
    made = Listening(bench, await nats.connect_as_manager())
    await made.reports.register(made.client)
    await settle(made.client)
    return made


async def say(nats: NatsHarness, kind: str, body: Any, *, instance: str = "echo_0", launch: str = "launch1") -> None:
    agent_id = instance.rpartition("_")[0]
    client = await nats.connect_as_launch(agent_id, instance, launch)
    speaker = LaunchSubject(node_id=NODE_ID, instance_id=instance, launch_id=launch)
    subject = subjects.launch_status(speaker) if kind == "status" else subjects.launch_metrics(speaker)
    await client.publish(subject, body if isinstance(body, bytes) else json.dumps(body).encode())
    await settle(client)
    await client.close()


async def test_a_heartbeat_makes_its_instance_run(nats: NatsHarness, bench: Bench, listening: Listening) -> None:
    report = {"number": 3, "load": 0.5, "running": ["a"], "metadata": {"mood": "fine"}, "timestamp": NOW}
    await say(nats, "status", report)
    await bench.until("running")
    heartbeat = bench.supervisor.heartbeats["echo_0"]
    assert (heartbeat.number, heartbeat.load, heartbeat.running) == (3, 0.5, ("a",))
    assert heartbeat.metadata == {"mood": "fine"}


async def test_a_launch_that_says_it_is_still_starting_is_not_ready(
    nats: NatsHarness, bench: Bench, listening: Listening
) -> None:
    await say(nats, "status", {"number": 1, "status": "starting", "timestamp": NOW})
    await eventually(lambda: "echo_0" in bench.supervisor.heartbeats)
    assert bench.status() == "starting"


async def test_who_speaks_is_read_from_the_subject_whatever_the_words_claim(
    nats: NatsHarness, bench: Bench, listening: Listening
) -> None:
    claim = {"number": 9, "instance_id": "echo_0", "launch_id": "launch1", "timestamp": NOW}
    await say(nats, "status", claim, launch="launch-of-yesterday")
    await say(nats, "metrics", {**claim, "counters": {"x": 1.0}}, launch="launch-of-yesterday")
    await say(nats, "status", claim, instance="other_0")
    await settle(listening.client)
    await say(nats, "status", {"number": 1, "timestamp": NOW})
    await bench.until("running")
    assert set(bench.supervisor.heartbeats) == {"echo_0"}
    assert bench.supervisor.heartbeats["echo_0"].number == 1
    assert listening.published == []


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", {"number": -1, "timestamp": NOW}, b"[" * 10_000])
async def test_nonsense_is_logged_and_harms_nobody(
    nats: NatsHarness, bench: Bench, listening: Listening, caplog: pytest.LogCaptureFixture, body: Any
) -> None:
    for kind in ("status", "metrics"):
        await say(nats, kind, body)
    await eventually(lambda: [record for record in caplog.records if record.message == "report_ignored"])
    await say(nats, "status", {"number": 1, "timestamp": NOW})
    await bench.until("running")


@pytest.mark.parametrize("flood", [b"x", json.dumps({"number": 1, "timestamp": NOW}).encode()], ids=["bad", "good"])
async def test_a_flood_of_one_launch_is_cut_off_said_once_and_hides_no_other(
    nats: NatsHarness, bench: Bench, listening: Listening, caplog: pytest.LogCaptureFixture, flood: bytes
) -> None:
    client = await nats.connect_as_launch("noisy", "noisy_0", "launch9")
    subject = subjects.launch_status(LaunchSubject(node_id=NODE_ID, instance_id="noisy_0", launch_id="launch9"))
    assert not listening.reports.are_behind()
    for _ in range(5_000):
        await client.publish(subject, flood)
    await settle(client)
    await eventually(lambda: caplog.records)
    assert not listening.reports.are_behind()
    await say(nats, "status", {"number": 1, "timestamp": NOW})
    await bench.until("running")
    complaints = [record for record in caplog.records if getattr(record, "subject", None) == subject]
    assert len(complaints) == 1
    await client.close()


@pytest.mark.parametrize("vain", [False, True], ids=["one client", "another failed to take its place"])
async def test_heartbeats_that_wait_while_others_are_read_are_known_of(nats: NatsHarness, vain: bool) -> None:
    behind: list[bool] = []
    supervisor: Any = SimpleNamespace()
    counters = Counters(supervisor=supervisor)
    reports = Reports(supervisor=supervisor, counters=counters, publish=lambda *_: None, node_id=NODE_ID)
    supervisor.heartbeat = lambda *_: behind.append(reports.are_behind())
    client = await nats.connect_as_manager()
    await reports.register(client)
    if vain:
        successor = await nats.connect_as_manager()
        await reports.register(successor)
        await successor.close()
    await settle(client)
    # At once, so that several wait while one is read.
    speaker = LaunchSubject(node_id=NODE_ID, instance_id="echo_0", launch_id="launch1")
    launch = await nats.connect_as_launch("echo", "echo_0", "launch1")
    for number in range(1, 31):
        report = {"number": number, "timestamp": NOW}
        await launch.publish(subjects.launch_status(speaker), json.dumps(report).encode())
    await settle(launch)
    await eventually(lambda: len(behind) == 30)
    assert any(behind)
    assert not reports.are_behind()


async def test_counters_are_kept_and_passed_on_to_observers(
    nats: NatsHarness, bench: Bench, listening: Listening
) -> None:
    await say(nats, "metrics", {"counters": {"requests": 2.0}, "timestamp": NOW})
    await eventually(lambda: listening.published)
    ((subject, update),) = listening.published
    assert isinstance(update, MetricsUpdate)
    assert (subject, update.agent_id, update.instance_id) == ("agent.metrics", "echo", "echo_0")
    assert bench.counters.of(bench.instance()) == {"requests": 2.0}


async def test_launches_of_other_nodes_are_not_listened_to(
    nats: NatsHarness, bench: Bench, listening: Listening
) -> None:
    elsewhere = LaunchSubject(node_id="node-2", instance_id="echo_0", launch_id="launch1")
    body = json.dumps({"number": 1, "timestamp": NOW}).encode()
    await listening.client.publish(subjects.launch_status(elsewhere), body)
    await settle(listening.client)
    await asyncio.sleep(0)
    assert bench.supervisor.heartbeats == {}


async def share(nats: NatsHarness, bench: Bench, *, shared: bool, launch: str = "launch1") -> Listening:
    """A launch that has said on the shared subjects who it is, to reports that believe it or not."""
    bench.aim()
    await bench.started()
    made = Listening(bench, await nats.connect_as_manager(), shared=shared)
    await made.reports.register(made.client)
    speaker = await nats.connect_as_manager()
    await settle(made.client, speaker)
    who = {"instance_id": "echo_0", "launch_id": launch, "timestamp": NOW}
    await speaker.publish(subjects.STATUS_FEED, json.dumps({**who, "number": 1}).encode())
    await speaker.publish(subjects.METRICS_FEED, json.dumps({**who, "counters": {"a": 1.0}}).encode())
    await settle(speaker, made.client)
    return made


async def test_where_launches_share_credentials_a_payload_says_who_speaks(nats: NatsHarness, bench: Bench) -> None:
    listening = await share(nats, bench, shared=True)
    await eventually(lambda: bench.status() == "running")
    await eventually(lambda: [subject for subject, _ in listening.published] == [subjects.METRICS_FEED])


async def test_where_launches_have_identities_a_payload_is_not_believed(nats: NatsHarness, bench: Bench) -> None:
    listening = await share(nats, bench, shared=False)
    # What comes after it on the launch's own subject has been heard: so would the forged report have been.
    await say(nats, "metrics", {"counters": {"b": 2.0}, "timestamp": NOW})
    await eventually(lambda: listening.published)
    assert [message.counters for _, message in listening.published if isinstance(message, MetricsUpdate)] == [
        {"b": 2.0}
    ]
    assert bench.status() == "starting"


async def test_a_launch_that_is_over_says_nothing_that_counts_there_either(nats: NatsHarness, bench: Bench) -> None:
    listening = await share(nats, bench, shared=True, launch="launch0")
    await say(nats, "metrics", {"counters": {"b": 2.0}, "timestamp": NOW})
    await eventually(lambda: listening.published)
    assert len(listening.published) == 1
    assert bench.status() == "starting"


async def test_the_managers_own_updates_on_the_shared_subjects_are_no_reports(
    nats: NatsHarness, bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    listening = await share(nats, bench, shared=True)
    update = MetricsUpdate(agent_id="echo", instance_id="echo_0", counters={"c": 3.0}, timestamp=datetime.now(UTC))
    await listening.client.publish(subjects.METRICS_FEED, update.model_dump_json().encode())
    await say(nats, "metrics", {"counters": {"b": 2.0}, "timestamp": NOW})
    await eventually(lambda: len(listening.published) == 2)
    assert not [record for record in caplog.records if record.message == "report_ignored"]
