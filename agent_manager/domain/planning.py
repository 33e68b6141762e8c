"""The reconciler's decision: from what is desired and what is observed to what each instance is to aim at."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from agent_manager.domain.agents import Agent
from agent_manager.domain.identifiers import instance_id
from agent_manager.domain.instances import Instance, InstanceStatus, Target


@dataclass(frozen=True, kw_only=True, slots=True)
class Aim:
    """Let the instance aim at the target; make the instance where there is none yet."""

    agent_id: str
    ordinal: int
    epoch: int
    target: Target


@dataclass(frozen=True, kw_only=True, slots=True)
class Retire:
    """Stop the instance and forget its slot: nothing desires it any more."""

    instance_id: str


PlanItem = Aim | Retire


def plan(agents: Iterable[Agent], observed: Mapping[str, Instance]) -> tuple[PlanItem, ...]:
    """What differs between `agents` (desired) and `observed` (their instances, by id), as things to do.

    A restart of an agent with several instances is rolling: those not running go first, then one at a time, the next
    only when all that were restarted before it have come up (or have completed).
    """
    items: list[PlanItem] = []
    desired: set[str] = set()
    for agent in agents:
        for aim in _aims(agent, observed):
            name = instance_id(aim.agent_id, aim.ordinal)
            desired.add(name)
            instance = observed.get(name)
            if instance is None or instance.target != aim.target:
                items.append(aim)
    items.extend(Retire(instance_id=name) for name in sorted(observed) if name not in desired)
    return tuple(items)


def _aims(agent: Agent, observed: Mapping[str, Instance]) -> list[Aim]:
    spec = agent.spec
    if (spec.config, spec.replicas) != (agent.config, agent.replicas):
        spec = replace(spec, config=agent.config, replicas=agent.replicas)
    target = Target(
        run=agent.should_run,
        spec=spec,
        start_serial=agent.start_serial,
        restart_serial=agent.restart_serial,
        stop_reason="stop requested" if agent.available else f"the folder of package {agent.package} is gone",
    )
    names = {ordinal: instance_id(agent.id, ordinal) for ordinal in range(agent.replicas)}
    behind = _held_back([observed[name] for name in names.values() if name in observed], agent.restart_serial)
    return [
        Aim(
            agent_id=agent.id,
            ordinal=ordinal,
            epoch=agent.epoch,
            target=replace(target, restart_serial=behind[name]) if name in behind else target,
        )
        for ordinal, name in names.items()
    ]


def _held_back(instances: list[Instance], restart_serial: int) -> dict[str, int]:
    """Instances that must wait their turn in a rolling restart, with the serial they keep until then."""
    serving = [i for i in instances if i.status in (InstanceStatus.RUNNING, InstanceStatus.INACTIVE)]
    waiting = [i for i in serving if i.launch is not None and i.launch.restart_serial < restart_serial]
    restarted = [i for i in instances if i not in waiting and i.target.run]
    under_way = [i for i in restarted if i.status is InstanceStatus.ERROR or not i.settled]
    turn = [] if under_way else waiting[:1]
    return {i.id: i.target.restart_serial for i in waiting if i not in turn}


def by_agent(instances: Iterable[Instance]) -> dict[str, tuple[Instance, ...]]:
    """Instances grouped by agent, in order of their ordinals."""
    grouped: dict[str, list[Instance]] = defaultdict(list)
    for instance in sorted(instances, key=lambda i: i.ordinal):
        grouped[instance.agent_id].append(instance)
    return {agent_id: tuple(group) for agent_id, group in grouped.items()}
