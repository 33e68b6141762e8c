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


def update(number: float) -> MetricsUpdate:
    return MetricsUpdate(
        agent_id="echo", instance_id="echo_0", counters={"number": number}, timestamp="2030-01-01T00:00:00Z"
    )


def feed_on(clients: list[Client]) -> Feed:
    return Feed(lambda: clients[0] if clients else None, on_event=lambda: None)


def say(feed: Feed, number: float) -> None:
    feed.publish(subjects.METRICS_FEED, update(number))


class Observer:
    """Everything that is said, in order."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.heard: list[tuple[str, dict[str, object]]] = []

    @property
    def numbers(self) -> list[float]:
        return [said["counters"]["number"] for _, said in self.heard if "counters" in said]  # type: ignore[index]

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
    feed = feed_on([await nats.connect_as_manager()])
    instance = Instance(agent_id="echo", ordinal=0, target=Target(run=True, spec=SPEC), status=InstanceStatus.RUNNING)
    for number in range(1_000):
        say(feed, number)
    feed.status(instance)
    tasks.create_task(feed.run())
    await feed.sent()
    await eventually(lambda: len(observer.heard) == 1_001)
    assert observer.numbers == list(range(1_000))
    subject, said = observer.heard[-1]
    assert subject == "agent.status"
    assert StatusUpdate.model_validate(said).status == "running"


def test_events_are_left_to_their_publisher() -> None:
    woken: list[bool] = []
    feed = Feed(lambda: None, on_event=lambda: woken.append(True))
    feed.event(Event(type="running", agent_id="echo", at=1.0, message="ready"))
    assert woken == [True]


async def test_without_a_client_what_is_said_is_gone_and_nobody_waits(
    nats: NatsHarness, observer: Observer, tasks: asyncio.TaskGroup
) -> None:
    clients: list[Client] = []
    feed = feed_on(clients)
    tasks.create_task(feed.run())
    say(feed, 1)
    await feed.sent()
    clients.append(await nats.connect_as_manager())
    say(feed, 2)
    await eventually(lambda: observer.heard)
    assert observer.numbers == [2]


async def test_beyond_its_bound_what_is_new_is_dropped_counted_and_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(feed_module, "MAX_WAITING", 10)
    feed = feed_on([])
    for number in range(15):
        say(feed, number)
    (said,) = [record for record in caplog.records if record.message == "feed_overflow"]
    assert said.__dict__["dropped"] == 1


@pytest.mark.parametrize("pending_size", [1, 1024])
async def test_a_client_that_can_take_no_more_while_it_reconnects_ends_nothing(
    nats: NatsHarness, tasks: asyncio.TaskGroup, pending_size: int
) -> None:
    client = await nats.connect_as_manager(pending_size=pending_size)
    feed = feed_on([client])
    sending = tasks.create_task(feed.run())
    await nats.kill()
    await eventually(lambda: not client.is_connected)
    for number in range(100):
        say(feed, number)
    await feed.sent()
    assert not sending.done()
    await nats.start()
    await eventually(lambda: client.is_connected)
    late = await Observer(await nats.connect_as_manager()).follow()
    say(feed, 1_000)
    await eventually(lambda: 1_000 in late.numbers)


async def test_a_client_that_is_closed_and_words_that_are_no_text_end_nothing(
    nats: NatsHarness, observer: Observer, tasks: asyncio.TaskGroup, caplog: pytest.LogCaptureFixture
) -> None:
    clients = [await nats.connect_as_manager()]
    feed = feed_on(clients)
    tasks.create_task(feed.run())
    await clients[0].close()
    say(feed, 1)
    await feed.sent()
    clients[0] = await nats.connect_as_manager()
    feed.publish(subjects.METRICS_FEED, update(2).model_copy(update={"agent_id": "half a character: \ud800"}))
    say(feed, 3)
    await eventually(lambda: observer.heard)
    assert observer.numbers == [3]
    assert len([record for record in caplog.records if record.message == "not_published"]) == 2
