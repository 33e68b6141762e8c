"""What `top` shows: two looks at all instances, and what follows from the difference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from agent_manager.cli.ctl.api import PATIENCE_S, Api, understood
from agent_manager.protocol.resources import InstanceList, InstanceSample, NodeList, NodeView

LaunchKey = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at everything. `processors` is by instance: how many it used since the look before, where both know."""

    nodes: Sequence[NodeView]
    instances: Sequence[InstanceSample]
    processors: Mapping[str, float]


async def take_sample(api: Api, before: Sample | None, *, patience_s: float = PATIENCE_S) -> Sample:
    """Two requests, however many instances there are (more only beyond a page). Raises AgentctlError."""
    nodes = understood(NodeList, await api.all_pages("/nodes", patience_s=patience_s)).items
    instances = understood(InstanceList, await api.all_pages("/instances", patience_s=patience_s)).items
    return Sample(nodes, instances, rates(before.instances if before else (), instances))


def rates(before: Sequence[InstanceSample], now: Sequence[InstanceSample]) -> dict[str, float]:
    """How many processors each instance used between two looks, where both saw the same process."""
    earlier: dict[LaunchKey, InstanceSample] = {(one.id, one.incarnation): one for one in before}
    rates: dict[str, float] = {}
    for later in now:
        first = earlier.get((later.id, later.incarnation))
        if first is None or first.process is None or later.process is None:
            continue
        seconds = (later.measured_at - first.measured_at).total_seconds()
        if seconds > 0:
            rates[later.id] = max(0.0, later.process.cpu_s - first.process.cpu_s) / seconds
    return rates


def uptime_s(sample: InstanceSample) -> float | None:
    """How long its process has been there, at the time of the sample."""
    if sample.pid is None or sample.started_at is None:
        return None
    return (sample.measured_at - sample.started_at).total_seconds()


def silence_s(sample: InstanceSample) -> float | None:
    """How long ago it was heard of, at the time of the sample."""
    if sample.pid is None or sample.last_heartbeat is None:
        return None
    return max(0.0, (sample.measured_at - sample.last_heartbeat).total_seconds())


class SortKey(StrEnum):
    """By what instances are ordered."""

    NAME = "name"
    STATUS = "status"
    UPTIME = "uptime"
    RESTARTS = "restarts"
    CPU = "cpu"
    MEMORY = "memory"
    HEARTBEAT = "heartbeat"


@dataclass(frozen=True, slots=True)
class Order:
    """An order of instances; numbers begin with the largest, words with the first, unless it is reversed."""

    key: SortKey = SortKey.CPU
    is_reversed: bool = False

    def chosen(self, key: SortKey) -> Order:
        """The order after `key` was chosen: that one, or where it is already chosen the other way round."""
        return replace(self, is_reversed=not self.is_reversed) if key is self.key else Order(key)

    def of(self, sample: Sample) -> list[InstanceSample]:
        """The instances in this order; those about which nothing is known come last either way."""
        by_name = sorted(sample.instances, key=lambda one: _name_key(one.id))
        if self.key in (SortKey.NAME, SortKey.STATUS):
            words: Callable[[InstanceSample], Any] = (
                (lambda one: _name_key(one.id)) if self.key is SortKey.NAME else (lambda one: one.status)
            )
            return sorted(by_name, key=words, reverse=self.is_reversed)
        figures = {one.id: self._figure(one, sample) for one in by_name}
        known = [one for one in by_name if figures[one.id] is not None]
        known.sort(key=lambda one: figures[one.id] or 0.0, reverse=not self.is_reversed)
        return known + [one for one in by_name if figures[one.id] is None]

    def _figure(self, one: InstanceSample, sample: Sample) -> float | None:
        match self.key:
            case SortKey.UPTIME:
                return uptime_s(one)
            case SortKey.RESTARTS:
                return float(one.restarts)
            case SortKey.CPU:
                return sample.processors.get(one.id)
            case SortKey.MEMORY:
                return float(one.process.rss_bytes) if one.process is not None else None
            case _:
                return silence_s(one)


def _name_key(instance_id: str) -> tuple[str, int]:
    """By agent, then by number: echo_2 before echo_10."""
    agent_id, _, ordinal = instance_id.rpartition("_")
    return agent_id, int(ordinal) if ordinal.isdigit() else 0
