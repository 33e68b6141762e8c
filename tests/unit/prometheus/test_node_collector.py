"""A census, counted when it is scraped."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from agent_manager.adapters.prometheus import node_collector
from agent_manager.adapters.prometheus.node_collector import MAX_AGENTS, MAX_MODELS, NodeCollector
from agent_manager.domain.agents import Agent
from agent_manager.domain.instances import Heartbeat, Instance, InstanceStatus, Launch, Target
from agent_manager.domain.lifecycle import Lifecycle
from agent_manager.services.census import Census
from tests.harness.domain import SPEC, agent

NOW = 1_000.0


def instance(
    agent_id: str, status: InstanceStatus = InstanceStatus.RUNNING, *, heartbeat_at: float | None = NOW
) -> Instance:
    launch = Launch(
        launch_id="l", incarnation=1, restart_serial=0, spec=SPEC, asked_at=0.0, ready_at=1.0, heartbeat_at=heartbeat_at
    )
    return Instance(agent_id=agent_id, ordinal=0, target=Target(run=True, spec=SPEC), status=status, launch=launch)


def of_model(agent_id: str, model: str | None, **more: Any) -> Agent:
    return agent(agent_id, spec=replace(SPEC, model=model), **more)


def census(*agents: Agent, instances: tuple[Instance, ...] = (), loads: Mapping[str, float] | None = None) -> Census:
    return Census(
        at_mono=NOW,
        agents={agent.id: agent for agent in agents},
        instances={instance.id: instance for instance in instances},
        heartbeats={name: Heartbeat(number=1, load=load) for name, load in (loads or {}).items()},
        journal_pending=3,
        journal_lost=4,
        feed_waiting=5,
        feed_dropped=6,
        bus_connected=True,
        launcher_connected=True,
    )


class Node:
    """A registry over a census that the test replaces; scraped from another thread, as in production."""

    def __init__(self, first: Census) -> None:
        self.census = first
        self.threads: list[int] = []
        self._registry = CollectorRegistry()
        self._registry.register(
            NodeCollector(self._take, asyncio.get_running_loop(), version="1.2.3", node_id="node-1")
        )

    def _take(self) -> Census:
        self.threads.append(threading.get_ident())
        return self.census

    async def value(self, name: str, **labels: str) -> float | None:
        return await asyncio.to_thread(self._registry.get_sample_value, name, labels)

    async def series(self, name: str) -> int:
        families = await asyncio.to_thread(lambda: list(self._registry.collect()))
        return sum(sample.name == name for family in families for sample in family.samples)


async def test_the_census_is_taken_in_the_event_loop() -> None:
    node = Node(census())
    assert await node.value("agent_manager_event_loop_answers") == 1
    assert set(node.threads) == {threading.get_ident()}


async def test_agents_are_counted_by_model_availability_and_lifecycle() -> None:
    node = Node(
        census(
            of_model("a", "small"),
            of_model("b", "small"),
            of_model("c", None, lifecycle=Lifecycle.READY),
            instances=(instance("a"), instance("b", InstanceStatus.ERROR)),
        )
    )
    assert await node.value("mcp_agents_registered_total", model="small") == 2
    assert await node.value("mcp_agents_registered_total", model="none") == 1
    assert await node.value("mcp_agents_active", model="small", status="active") == 1
    assert await node.value("mcp_agents_active", model="small", status="error") == 1
    assert await node.value("mcp_agents_active", model="none", status="offline") == 1
    assert await node.value("mcp_agents_active", model="none", status="active") == 0
    assert await node.value("agent_manager_agents", lifecycle="active") == 2
    assert await node.value("agent_manager_instances", status="error") == 1
    assert await node.value("agent_manager_instances", status="backoff") == 0


async def test_registered_agents_are_never_taken_back() -> None:
    node = Node(census(of_model("a", "small"), of_model("b", "small")))
    assert await node.value("mcp_agents_registered_total", model="small") == 2
    node.census = census(of_model("a", "small"))
    assert await node.value("mcp_agents_registered_total", model="small") == 2
    node.census = census(of_model("a", "small"), of_model("new", "large"))
    assert await node.value("mcp_agents_registered_total", model="large") == 1


async def test_utilization_is_the_mean_load_of_those_that_report_one() -> None:
    second = replace(instance("a"), ordinal=1)
    node = Node(
        census(
            of_model("a", "m"), of_model("b", "m"), instances=(instance("a"), second), loads={"a_0": 1.0, "a_1": 0.5}
        )
    )
    assert await node.value("mcp_agent_utilization_ratio", agent_id="a", model="m") == 0.75
    assert await node.value("mcp_agent_utilization_ratio", agent_id="b", model="m") is None


async def test_many_models_and_agents_make_a_bounded_number_of_series() -> None:
    agents = [of_model(f"a{number:05}", f"model-{number}") for number in range(MAX_AGENTS + 10)]
    loads = {f"{agent.id}_0": 0.5 for agent in agents}
    node = Node(census(*agents, instances=tuple(instance(agent.id) for agent in agents), loads=loads))
    assert await node.series("mcp_agents_registered_total") == MAX_MODELS + 1
    assert await node.value("mcp_agents_registered_total", model="other") == MAX_AGENTS + 10 - MAX_MODELS
    assert await node.series("mcp_agent_utilization_ratio") == MAX_AGENTS


async def test_silence_is_measured_of_those_that_should_speak() -> None:
    starting = instance("starting", InstanceStatus.STARTING, heartbeat_at=NOW - 500)
    mute = instance("mute", heartbeat_at=NOW - 500)
    assert mute.launch is not None
    mute = replace(mute, launch=replace(mute.launch, spec=replace(SPEC, heartbeat=None)))
    node = Node(census(instances=(instance("fresh"), instance("late", heartbeat_at=NOW - 11), starting, mute)))
    assert await node.value("agent_manager_oldest_heartbeat_age_seconds") == 11
    assert await node.value("agent_manager_heartbeats_late") == 1


async def test_parts_tell_of_themselves() -> None:
    node = Node(census())
    assert await node.value("agent_manager_journal_pending") == 3
    assert await node.value("agent_manager_journal_lost_total") == 4
    assert await node.value("agent_manager_feed_waiting") == 5
    assert await node.value("agent_manager_feed_dropped_total") == 6
    assert await node.value("agent_manager_bus_connected") == 1
    assert await node.value("agent_manager_launcher_connected") == 1
    assert await node.value("agent_manager_oldest_heartbeat_age_seconds") == 0


async def test_an_event_loop_that_does_not_answer_is_told_and_holds_up_no_scrape(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(node_collector, "PATIENCE_S", 0.0)
    registry = CollectorRegistry()
    registry.register(NodeCollector(census, asyncio.get_running_loop(), version="1", node_id="n"))
    # From the loop's own thread: it cannot answer meanwhile.
    assert registry.get_sample_value("agent_manager_event_loop_answers") == 0
    assert registry.get_sample_value("agent_manager_instances", {"status": "running"}) is None
    await asyncio.sleep(0)


def test_a_scrape_after_the_end_of_the_loop_is_answered() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    registry = CollectorRegistry()
    registry.register(NodeCollector(census, loop, version="1", node_id="n"))
    assert registry.get_sample_value("agent_manager_event_loop_answers") == 0


async def test_scrapes_at_the_same_time_do_not_disturb_each_other() -> None:
    node = Node(census(*(of_model(f"a{number}", "m") for number in range(50))))
    values = await asyncio.gather(*(node.value("mcp_agents_registered_total", model="m") for _ in range(20)))
    assert set(values) == {50.0}


async def test_a_scrape_that_is_given_up_half_way_holds_up_no_other() -> None:
    node = Node(census(of_model("a", "m")))
    collector = NodeCollector(lambda: node.census, asyncio.get_running_loop(), version="1", node_id="n")

    def half_way() -> object:
        families = collector.collect()
        return families, [next(families) for _ in range(3)]

    abandoned = await asyncio.to_thread(half_way)
    async with asyncio.timeout(20.0):
        whole = await asyncio.to_thread(lambda: list(collector.collect()))
    assert len(whole) > 3
    del abandoned


async def test_a_fault_of_the_census_is_raised_and_not_taken_for_a_loop_that_hangs() -> None:
    def broken() -> Census:
        raise RuntimeError("a fault of ours")

    registry = CollectorRegistry()
    registry.register(NodeCollector(broken, asyncio.get_running_loop(), version="1", node_id="n"))
    with pytest.raises(RuntimeError, match="a fault of ours"):
        await asyncio.to_thread(lambda: list(registry.collect()))
