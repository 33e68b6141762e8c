"""The live feed: in order, without waiting, and lossy where nobody could be told anyway."""

from __future__ import annotations

import asyncio
import json

import pytest
from nats.aio.client import Client

from agent_manager.adapters.nats import feed as feed_module
from agent_manager.adapters.nats.feed import Feed
from agent_manager.domain.events import Event
from agent_manager.domain.instances import Instance, InstanceStatus, Target
from agent_manager.protocol import subjects
from agent_manager.protocol.messages import MetricsUpdate, StatusUpdate
from tests.harness.domain import SPEC
from tests.harness.nats_server import NatsHarness, settle
from tests.harness.waiting import eventually


def event(number: int, **changes: object) -> Event:
    fields = {"type": "running", "agent_id": "echo", "at": 1.0, "message": f"number {number}", "sequence": number}
    return Event(**{**fields, **changes})  # type: ignore[arg-type]


class Observer:
    """Everything that is said, in order."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.heard: list[tuple[str, dict[str, object]]] = []

    async def follow(self) -> Observer:
        async def hear(message: object) -> None:
            self.heard.append((message.subject, json.loads(message.data)))  # type: ignore[attr-defined]

        await self.client.subscribe("agent.>", cb=hear)
        await settle(self.client)
        return self


@pytest.fixture
async def observer(nats: NatsHarness) -> Observer:
    return await Observer(await nats.connect_as_manager()).follow()


async def test_everything_is_said_in_the_order_in_which_it_happened(
    nats: NatsHarness, observer: Observer, tasks: asyncio.TaskGroup
) -> None:
    client = await nats.connect_as_manager()
    feed = Feed(lambda: client)
    instance = Instance(agent_id="echo", ordinal=0, target=Target(run=True, spec=SPEC), status=InstanceStatus.RUNNING)
    for number in range(1_000):
        feed.event(event(number))
    feed.status(instance)
    tasks.create_task(feed.run())
    await feed.sent()
    await eventually(lambda: len(observer.heard) == 1_001)
    assert [said["sequence"] for _, said in observer.heard[:-1]] == list(range(1_000))
    assert observer.heard[0][0] == "agent.event.echo.running"
    subject, said = observer.heard[-1]
    assert subject == "agent.status"
    assert StatusUpdate.model_validate(said).status == "running"


async def test_without_a_client_what_is_said_is_gone_and_nobody_waits(
    nats: NatsHarness, observer: Observer, tasks: asyncio.TaskGroup
) -> None:
    clients: list[Client] = []
    feed = Feed(lambda: clients[0] if clients else None)
    tasks.create_task(feed.run())
    feed.event(event(1))
    await feed.sent()
    clients.append(await nats.connect_as_manager())
    feed.event(event(2))
    await eventually(lambda: observer.heard)
    assert [said["sequence"] for _, said in observer.heard] == [2]


async def test_beyond_its_bound_what_is_new_is_dropped_counted_and_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(feed_module, "MAX_WAITING", 10)
    feed = Feed(lambda: None)
    for number in range(15):
        feed.event(event(number))
    (said,) = [record for record in caplog.records if record.message == "feed_overflow"]
    assert said.__dict__["dropped"] == 1


@pytest.mark.parametrize("pending_size", [1, 1024])
async def test_a_client_that_can_take_no_more_while_it_reconnects_ends_nothing(
    nats: NatsHarness, tasks: asyncio.TaskGroup, pending_size: int
) -> None:
    client = await nats.connect_as_manager(pending_size=pending_size)
    feed = Feed(lambda: client)
    sending = tasks.create_task(feed.run())
    await nats.kill()
    await eventually(lambda: not client.is_connected)
    for number in range(100):
        feed.event(event(number))
    await feed.sent()
    assert not sending.done()
    await nats.start()
    await eventually(lambda: client.is_connected)
    late = await Observer(await nats.connect_as_manager()).follow()
    feed.event(event(1_000))
    await eventually(lambda: any(said["sequence"] == 1_000 for _, said in late.heard))


async def test_a_client_that_is_closed_and_words_that_are_no_text_end_nothing(
    nats: NatsHarness, observer: Observer, tasks: asyncio.TaskGroup, caplog: pytest.LogCaptureFixture
) -> None:
    clients = [await nats.connect_as_manager()]
    feed = Feed(lambda: clients[0])
    tasks.create_task(feed.run())
    await clients[0].close()
    feed.event(event(1))
    await feed.sent()
    clients[0] = await nats.connect_as_manager()
    feed.event(event(2, message="half a character: \ud800"))
    feed.publish(
        subjects.METRICS_FEED,
        MetricsUpdate(agent_id="echo", instance_id="echo_0", counters={"requests": 1.0}, timestamp="2030-01-01"),
    )
    await eventually(lambda: observer.heard)
    assert [subject for subject, _ in observer.heard] == ["agent.metrics"]
    assert len([record for record in caplog.records if record.message == "not_published"]) == 2
