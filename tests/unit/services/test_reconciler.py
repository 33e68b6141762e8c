"""The loop that makes what runs what is desired."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import pytest

from agent_manager.domain.agents import Agent
from agent_manager.domain.instances import Instance
from agent_manager.domain.lifecycle import Lifecycle
from agent_manager.domain.planning import Aim, PlanItem, plan
from agent_manager.ports.launcher import LaunchEmptied
from agent_manager.services import reconciler as reconciler_module
from agent_manager.services.reconciler import Reconciler
from tests.harness.domain import SPEC, agent
from tests.harness.waiting import eventually
from tests.unit.services.bench import NODE, Bench


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciler_module, "RETRY_S", 0.01)


async def test_what_is_desired_on_this_node_is_started_and_nothing_else(bench: Bench) -> None:
    idle = agent("idle", spec=replace(SPEC, name="idle"), lifecycle=Lifecycle.READY)
    await bench.save(agent(), replace(agent("elsewhere", spec=replace(SPEC, name="far")), node_id="node-2"), idle)
    bench.follow_desired_state()
    await bench.started()
    assert set(bench.supervisor.instances) == {"echo_0", "idle_0"}
    assert bench.status("idle_0") == "stopped"
    assert {spec.name for spec in bench.launcher.expected_specs} == {"echo", "idle"}


async def test_nothing_is_planned_before_the_first_answer_which_is_not_an_empty_one(bench: Bench) -> None:
    await bench.running()
    bench.store.away = True
    bench.follow_desired_state()
    await eventually(lambda: bench.store.refused >= 3)
    assert bench.status() == "running"
    bench.store.away = False
    await eventually(lambda: bench.supervisor.instances == {})
    assert bench.launcher.running == set()


async def test_while_the_store_is_away_what_was_known_is_still_desired(bench: Bench) -> None:
    await bench.save(agent())
    bench.follow_desired_state()
    await bench.started()
    bench.heartbeat()
    bench.store.away = True
    bench.reconciler.nudge()
    await eventually(lambda: bench.store.refused >= 2)
    bench.launcher.end("echo_0")
    await bench.started()
    assert bench.instance().target.run
    assert set(bench.reconciler.agents) == {"echo"}


async def test_a_nudge_makes_it_look_again_at_once(bench: Bench) -> None:
    bench.follow_desired_state()
    await eventually(lambda: bench.store.reads == 1)
    await bench.save(agent())
    bench.reconciler.nudge()
    await bench.started()
    assert bench.store.reads == 2


async def test_a_lost_nudge_is_made_up_for_even_where_something_always_changes(bench: Bench) -> None:
    restless = Reconciler(store=bench.store, supervisor=bench.supervisor, node_id=NODE, interval_s=lambda: 0.05)
    bench.tasks.create_task(restless.run())
    await eventually(lambda: bench.store.reads)
    await bench.save(agent())

    def known() -> bool:
        # A change, far more often than the interval.
        bench.supervisor.launcher_event(LaunchEmptied(instance_id="stray_0", launch_id="launch9"))
        return "echo" in restless.agents

    await eventually(known)


async def test_a_rolling_restart_replaces_one_after_the_other_until_all_are_new(bench: Bench) -> None:
    pool = replace(agent("pool"), replicas=3)
    await bench.save(pool)
    bench.follow_desired_state()
    names = [f"pool_{ordinal}" for ordinal in range(3)]
    for name in names:
        await bench.started(name)
        bench.heartbeat(name)
    before = {name: bench.instance(name).incarnation for name in names}
    await bench.save(pool.restarted(2.0))
    bench.reconciler.nudge()
    for name in names:
        await eventually(lambda name=name: bench.instance(name).incarnation > before[name])  # type: ignore[misc]
        serving = [other for other in names if bench.status(other) == "running"]
        assert sorted({*serving, name}) == names
        await bench.started(name)
        bench.heartbeat(name)
    assert all(bench.instance(name).settled for name in names)


async def test_it_plans_for_what_has_changed_and_for_nothing_else(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned: list[tuple[list[str], list[str]]] = []

    def planning(agents: Iterable[Agent], observed: Mapping[str, Instance]) -> tuple[PlanItem, ...]:
        agents = list(agents)
        planned.append(([agent.id for agent in agents], list(observed)))
        return plan(agents, observed)

    monkeypatch.setattr(reconciler_module, "plan", planning)
    await bench.save(agent("one"), agent("two"), agent("three"))
    bench.follow_desired_state()
    for name in ("one_0", "two_0", "three_0"):
        await bench.started(name)
        bench.heartbeat(name)
    assert planned[0] == (["one", "three", "two"], [])
    read_before, planned_before = bench.store.reads, len(planned)
    bench.reconciler.nudge()
    await eventually(lambda: bench.store.reads > read_before and len(planned) > planned_before)
    planned.clear()
    bench.launcher.end("two_0")
    await bench.started("two_0")
    await bench.save(replace(agent("three"), replicas=2))
    bench.reconciler.nudge()
    await bench.started("three_1")
    assert {tuple(agents) for agents, _ in planned} - {()} == {("two",), ("three",)}
    assert {name for _, observed in planned for name in observed} <= {"two_0", "three_0", "three_1"}


async def test_an_agent_with_fewer_replicas_loses_the_last_ones(bench: Bench) -> None:
    pool = replace(agent("pool"), replicas=2)
    await bench.save(pool)
    bench.follow_desired_state()
    for name in ("pool_0", "pool_1"):
        await bench.started(name)
        bench.heartbeat(name)
    await bench.save(replace(pool, replicas=1))
    bench.reconciler.nudge()
    await eventually(lambda: set(bench.supervisor.instances) == {"pool_0"})
    await eventually(lambda: bench.launcher.released == ["pool_1"])
    assert bench.status("pool_0") == "running"


async def test_a_store_that_cannot_be_read_is_said_once_and_once_that_it_can(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    bench.store.away = True
    bench.follow_desired_state()
    await eventually(lambda: bench.store.refused >= 3)
    bench.store.away = False
    await eventually(lambda: bench.store.reads)
    said = [record.message for record in caplog.records if record.message.startswith("desired_state_")]
    await eventually(lambda: [r for r in caplog.records if r.message == "desired_state_readable"])
    assert said.count("desired_state_unreadable") == 1


async def test_what_a_command_causes_is_done_in_its_callers_context(bench: Bench) -> None:
    who: ContextVar[str] = ContextVar("who", default="nobody")
    spawned_for: list[tuple[str, str]] = []
    spawn = bench.launcher.spawn

    async def spawning(instance: Instance, *arguments: Any) -> tuple[int, float]:
        spawned_for.append((instance.agent_id, who.get()))
        return await spawn(instance, *arguments)

    bench.launcher.spawn = spawning  # type: ignore[method-assign,assignment]  # watched from here
    await bench.save(agent("asked", lifecycle=Lifecycle.READY), agent("own"))
    bench.follow_desired_state()
    await bench.started("own_0")
    who.set("ada")
    await bench.commands.start("asked", actor=None, wait_s=0.0)
    await bench.started("asked_0")
    assert spawned_for == [("own", "nobody"), ("asked", "ada")]


async def test_a_callers_context_outlasts_a_store_that_is_away(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    who: ContextVar[str] = ContextVar("who", default="nobody")
    aimed_for: list[str] = []
    aim = bench.supervisor.aim

    def aiming(item: Aim) -> None:
        aimed_for.append(who.get())
        aim(item)

    monkeypatch.setattr(bench.supervisor, "aim", aiming)
    await bench.save(agent("asked"))
    bench.store.away = True
    who.set("ada")
    bench.reconciler.nudge("asked")
    who.set("somebody else")
    bench.follow_desired_state()
    await eventually(lambda: bench.store.refused > 2)
    bench.store.away = False
    await bench.started("asked_0")
    assert aimed_for == ["ada"]
