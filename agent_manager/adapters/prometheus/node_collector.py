"""Counts a census when it is scraped. Runs in the listener's thread; only the census is taken in the event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import platform
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from agent_manager.adapters.prometheus import definitions
from agent_manager.domain.agents import Agent
from agent_manager.domain.availability import Availability, availability
from agent_manager.domain.instances import Instance, InstanceStatus
from agent_manager.domain.lifecycle import Lifecycle
from agent_manager.domain.planning import by_agent
from agent_manager.services.census import Census
from agent_manager.telemetry.definitions import Metric, bounded

LabelsT = TypeVar("LabelsT", bound=tuple[str, ...])

PATIENCE_S = 2.0
"""How long the event loop may take to give its census."""
MAX_MODELS = 100
MAX_AGENTS = 2_000
"""Agents with a series of their own."""
NO_MODEL = "none"
LATE_INTERVALS = 2

_ALIVE = (InstanceStatus.RUNNING, InstanceStatus.INACTIVE)


class NodeCollector(Collector):
    """What there is on this node. `take` is called in `loop`."""

    def __init__(
        self, take: Callable[[], Census], loop: asyncio.AbstractEventLoop, *, version: str, node_id: str
    ) -> None:
        self._take = take
        self._loop = loop
        self._build = (version, platform.python_version(), node_id)
        self._scraping = threading.Lock()
        self._registered: dict[str, str] = {}
        self._models: set[str] = set()

    def collect(self) -> Iterator[Family]:
        """Every family; those that need the event loop only if that answers."""
        yield _family(definitions.BUILD_INFO, {self._build: 1.0})
        census = self._census()
        yield _family(definitions.LOOP_ANSWERS, {(): float(census is not None)})
        if census is not None:
            # Not yielded from inside: whoever stops listening half-way would keep the lock.
            with self._scraping:
                of_agents = list(self._of_agents(census))
            yield from of_agents
            yield from _of_instances(census)
            yield from _of_parts(census)

    def _census(self) -> Census | None:
        answer: concurrent.futures.Future[Census] = concurrent.futures.Future()

        def take() -> None:
            if answer.set_running_or_notify_cancel():
                try:
                    answer.set_result(self._take())
                except Exception as error:  # raised again in the thread that scrapes
                    answer.set_exception(error)

        try:
            self._loop.call_soon_threadsafe(take)
        except RuntimeError:
            # Closed: the program ends.
            return None
        try:
            return answer.result(PATIENCE_S)
        except TimeoutError:
            answer.cancel()
            return None

    def _of_agents(self, census: Census) -> Iterator[Family]:
        grouped = by_agent(census.instances.values())
        states: Counter[tuple[str, ...]] = Counter()
        utilization: dict[tuple[str, ...], float] = {}
        for agent_id, agent in sorted(census.agents.items()):
            model = self._model(agent)
            self._registered.setdefault(agent_id, model)
            loads = [census.heartbeats[i.id].load for i in grouped.get(agent_id, ()) if i.id in census.heartbeats]
            statuses = [instance.present_status for instance in grouped.get(agent_id, ())]
            states[model, availability(agent.lifecycle, statuses, loads).value] += 1
            if loads and len(utilization) < MAX_AGENTS:
                utilization[agent_id, model] = sum(loads) / len(loads)
        registered = Counter(self._registered.values())
        models = {model for model, _ in states}
        yield _family(definitions.AGENTS_REGISTERED, {(model,): count for model, count in registered.items()})
        every = {(model, state.value): states[model, state.value] for model in models for state in Availability}
        yield _family(definitions.AGENTS_ACTIVE, every)
        yield _family(definitions.UTILIZATION, utilization)
        lifecycles = Counter(agent.lifecycle for agent in census.agents.values())
        yield _family(definitions.AGENTS, {(state.value,): lifecycles[state] for state in Lifecycle})

    def _model(self, agent: Agent) -> str:
        model = agent.spec.model or NO_MODEL
        if len(self._models) < MAX_MODELS:
            self._models.add(model)
        return bounded(model, self._models)


def _of_instances(census: Census) -> Iterator[Family]:
    statuses = Counter(instance.present_status for instance in census.instances.values())
    yield _family(definitions.INSTANCES, {(status.value,): statuses[status] for status in InstanceStatus})
    ages = [age for instance in census.instances.values() if (age := _silence(instance, census.at_mono)) is not None]
    yield _family(definitions.HEARTBEAT_AGE, {(): max((age_s for age_s, _ in ages), default=0.0)})
    late = sum(age_s > LATE_INTERVALS * interval_s for age_s, interval_s in ages)
    yield _family(definitions.HEARTBEATS_LATE, {(): late})


def _silence(instance: Instance, now: float) -> tuple[float, float] | None:
    """How long a live instance has been silent, and its interval; None for one that sends nothing, or not now."""
    launch = instance.launch
    if launch is None or launch.spec.heartbeat is None or launch.ready_at is None:
        return None
    if instance.present_status not in _ALIVE:
        return None
    last = launch.heartbeat_at if launch.heartbeat_at is not None else launch.ready_at
    return max(0.0, now - last), launch.spec.heartbeat.interval_s


def _of_parts(census: Census) -> Iterator[Family]:
    single = {
        definitions.BUS_CONNECTED: census.bus_connected,
        definitions.LAUNCHER_CONNECTED: census.launcher_connected,
        definitions.JOURNAL_PENDING: census.journal_pending,
        definitions.JOURNAL_LOST: census.journal_lost,
        definitions.FEED_WAITING: census.feed_waiting,
        definitions.FEED_DROPPED: census.feed_dropped,
    }
    for metric, value in single.items():
        yield _family(metric, {(): float(value)})


def _family(metric: Metric, values: Mapping[LabelsT, float]) -> Family:
    family = metric.family()
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family
