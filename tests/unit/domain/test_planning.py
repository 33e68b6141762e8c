"""The reconciler's decision."""

from __future__ import annotations

from dataclasses import replace

from agent_manager.domain.agents import Agent
from agent_manager.domain.instances import Instance
from agent_manager.domain.lifecycle import Lifecycle
from agent_manager.domain.planning import Aim, Retire, plan
from agent_manager.domain.specification import RestartMode, RestartPolicy
from tests.harness.domain import SPEC, VirtualInstance, agent


def observe(*instances: Instance) -> dict[str, Instance]:
    return {instance.id: instance for instance in instances}


def running(desired: Agent, ordinal: int) -> VirtualInstance:
    it = VirtualInstance()
    it.instance = replace(it.instance, ordinal=ordinal)
    (aim,) = [item for item in plan([desired], {}) if isinstance(item, Aim) and item.ordinal == ordinal]
    it.instance = replace(it.instance, target=replace(aim.target, run=False))
    return it.running()


def test_an_active_agent_gets_as_many_instances_as_it_has_replicas() -> None:
    items = plan([replace(agent(), replicas=3)], {})
    assert [(item.ordinal, item.target.run) for item in items if isinstance(item, Aim)] == [
        (0, True),
        (1, True),
        (2, True),
    ]


def test_nothing_is_planned_where_desired_and_observed_agree() -> None:
    desired = agent()
    assert plan([desired], observe(running(desired, 0).instance)) == ()


def test_a_stopped_agents_instances_are_aimed_down() -> None:
    desired = agent()
    observed = observe(running(desired, 0).instance)
    (aim,) = plan([replace(desired, lifecycle=Lifecycle.READY)], observed)
    assert isinstance(aim, Aim)
    assert aim.target.run is False


def test_an_agent_whose_folder_is_gone_does_not_run_whatever_its_lifecycle() -> None:
    (aim,) = plan([replace(agent(), available=False)], {})
    assert isinstance(aim, Aim)
    assert aim.target.run is False


def test_what_is_desired_no_longer_is_retired() -> None:
    desired = agent()
    observed = observe(running(desired, 0).instance)
    assert plan([], observed) == (Retire(instance_id="echo_0"),)
    assert plan([replace(desired, replicas=0)], observed) == (Retire(instance_id="echo_0"),)


def test_scaling_up_touches_no_sibling() -> None:
    desired = agent()
    observed = observe(running(desired, 0).instance)
    scaled = plan([replace(desired, replicas=2)], observed)
    touched = [item for item in scaled if isinstance(item, Aim) and item.target.restart_serial != 0]
    assert touched == []
    assert [item.ordinal for item in scaled if isinstance(item, Aim) and item.ordinal == 1] == [1]


def test_a_restart_rolls_one_running_instance_at_a_time() -> None:
    desired = replace(agent(), replicas=3)
    instances = [running(desired, ordinal) for ordinal in range(3)]
    restarted = desired.restarted(2.0)
    order = []
    for _ in range(20):
        observed = observe(*(it.instance for it in instances))
        items = [item for item in plan([restarted], observed) if isinstance(item, Aim)]
        if not items:
            break
        for item in items:
            instances[item.ordinal].feed_target(item.target)
        down = [it for it in instances if it.status == "stopping"]
        assert len(down) <= 1
        for it in down:
            order.append(it.instance.ordinal)
            it.gone(code=0)
            assert not any(other.status == "stopping" for other in instances)
            it.started()
            it.heartbeat()
    assert order == [0, 1, 2]
    assert all(it.instance.launch and it.instance.launch.restart_serial == 1 for it in instances)


def test_a_rolling_restart_halts_when_the_restarted_instance_does_not_come_up() -> None:
    desired = replace(agent(), replicas=2)
    instances = [running(desired, ordinal) for ordinal in range(2)]
    restarted = desired.restarted(2.0)
    for item in plan([restarted], observe(*(it.instance for it in instances))):
        assert isinstance(item, Aim)
        instances[item.ordinal].feed_target(item.target)
    instances[0].gone(code=0)
    for item in plan([restarted], observe(*(it.instance for it in instances))):
        assert isinstance(item, Aim)
        instances[item.ordinal].feed_target(item.target)
    assert [it.status for it in instances] == ["starting", "running"]


def test_a_completed_instance_does_not_hold_up_a_rolling_restart() -> None:
    spec = replace(SPEC, restart=RestartPolicy(policy=RestartMode.ON_FAILURE))
    desired = replace(agent(spec=spec), replicas=2)
    instances = [running(desired, ordinal) for ordinal in range(2)]
    restarted = desired.restarted(2.0)
    for _ in range(4):
        for item in plan([restarted], observe(*(it.instance for it in instances))):
            assert isinstance(item, Aim)
            instances[item.ordinal].feed_target(item.target)
        if instances[0].status == "stopping":
            instances[0].gone(code=0)
            instances[0].started()
            instances[0].heartbeat()
            instances[0].gone(code=0)
    assert [it.status for it in instances] == ["stopped", "stopping"]
