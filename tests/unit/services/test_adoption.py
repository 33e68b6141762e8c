"""A new manager takes over what the launcher holds, in whatever state."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent_manager.domain.exits import ProcessExit
from agent_manager.domain.instances import Instance, InstanceStatus
from agent_manager.ports.launcher import Slot, SlotState
from agent_manager.services.supervisor import Supervisor
from tests.harness.domain import VirtualInstance, agent, process_exit
from tests.harness.waiting import eventually
from tests.unit.services.bench import Bench


def slot(
    instance: Instance | None,
    state: SlotState,
    *,
    pid: int | None = 100,
    launch_id: str = "of-before1",
    exits: tuple[ProcessExit, ...] = (),
) -> Slot:
    started_at = 5.0 if pid is not None else None
    return Slot(
        instance_id="echo_0",
        launch_id=launch_id,
        state=state,
        pid=pid,
        started_at=started_at,
        instance=instance,
        exits=exits,
    )


def left_behind(it: VirtualInstance) -> Instance:
    """The metadata its manager wrote last, with a launch id that the new manager's own do not collide with."""
    launch = it.instance.launch
    if launch is None:
        return replace(it.instance, held="of-before1")
    return replace(it.instance, held="of-before1", launch=replace(launch, launch_id="of-before1"))


def adopt(bench: Bench, present: Slot) -> Supervisor:
    bench.launcher.slots["echo_0"] = present.launch_id
    if present.state is not SlotState.EMPTY:
        bench.launcher.running.add("echo_0")
    bench.supervisor.adopt((present,))
    return bench.supervisor


async def test_a_running_instance_is_supervised_on_and_keeps_its_credentials(bench: Bench) -> None:
    bench.identities.living = {"of-before1", "of-yesterday"}
    adopt(bench, slot(left_behind(VirtualInstance().running()), SlotState.RUNNING))
    assert bench.status() == "running"
    assert bench.identities.living == {"of-before1"}
    bench.heartbeat(load=0.5)
    assert bench.supervisor.heartbeats["echo_0"].load == 0.5
    assert bench.launcher.expected == []


async def test_what_the_predecessor_had_still_to_write_is_written(bench: Bench) -> None:
    it = VirtualInstance()
    it.target(run=True)
    await bench.save(agent())
    await bench.store.write(lambda transaction: transaction.observe(it.instance, "node-1"))
    it.started()
    it.heartbeat()
    adopt(bench, slot(left_behind(it), SlotState.RUNNING))
    bench.tasks.create_task(bench.journal.run())
    await bench.journal.flushed()
    (stored,) = await bench.store.read(lambda transaction: transaction.instances())
    assert stored == bench.instance()
    assert stored.status == "running"


async def test_a_process_that_was_started_while_nobody_listened_is_known_afterwards(bench: Bench) -> None:
    it = VirtualInstance()
    it.target(run=True)
    adopt(bench, slot(left_behind(it), SlotState.RUNNING, pid=77))
    launch = bench.instance().launch
    assert launch is not None
    assert (launch.pid, launch.started_wall) == (77, 5.0)
    bench.heartbeat()
    assert bench.status() == "running"


async def test_a_launch_that_failed_while_nobody_listened_is_started_again(bench: Bench) -> None:
    it = VirtualInstance()
    it.target(run=True)
    adopt(bench, slot(left_behind(it), SlotState.EMPTY, pid=None))
    started = await bench.started()
    assert started.last_exit is not None
    assert started.last_exit.reason == "start-failed"
    assert bench.launcher.expected == ["of-before1"]


async def test_the_outcome_of_a_launch_under_way_is_asked_for(bench: Bench) -> None:
    it = VirtualInstance()
    it.target(run=True)
    adopt(bench, slot(left_behind(it), SlotState.LAUNCHING))
    started = await bench.started()
    assert started.launch is not None
    assert started.launch.launch_id == "of-before1"
    assert bench.launcher.expected == ["of-before1"]


@pytest.mark.parametrize("state", [SlotState.EXITED, SlotState.EMPTY])
async def test_an_exit_nobody_has_seen_is_recorded_and_the_instance_started_again(
    bench: Bench, state: SlotState
) -> None:
    bench.tasks.create_task(bench.journal.run())
    exits = (process_exit("of-earlier", code=0), process_exit("of-before1", code=3))
    adopt(bench, slot(left_behind(VirtualInstance().running()), state, exits=exits))
    if state is SlotState.EXITED:
        assert bench.status() == "running"
        bench.launcher.end("echo_0", code=3)
    started = await bench.started()
    assert started.last_exit is not None
    assert started.last_exit.code == 3
    await eventually(lambda: {"of-earlier", "of-before1"} <= set(bench.launcher.acknowledged))
    kept = await bench.store.read(lambda transaction: transaction.exits("echo", 10))
    assert {exit_.launch_id for exit_ in kept} == {"of-earlier", "of-before1"}


async def test_an_exit_that_was_never_acknowledged_keeps_the_reason_it_had(bench: Bench) -> None:
    it = VirtualInstance().running()
    it.target(run=False)
    it.drained()
    it.gone(signal=15)
    last = it.instance.last_exit
    assert last is not None
    bench.tasks.create_task(bench.journal.run())
    adopt(bench, slot(it.instance, SlotState.EMPTY, exits=(process_exit(last.launch_id, signal=15),)))
    await bench.journal.flushed()
    (kept,) = await bench.store.read(lambda transaction: transaction.exits("echo", 10))
    assert kept.reason == "requested"
    assert kept.incarnation == 1


async def test_a_stop_under_way_goes_on_from_its_rung(bench: Bench) -> None:
    it = VirtualInstance().running()
    it.target(run=False)
    it.drained()
    adopt(bench, slot(left_behind(it), SlotState.RUNNING))
    assert bench.launcher.signals == [("echo_0", "SIGTERM")]
    stopped = await bench.until("stopped")
    assert stopped.last_exit is not None
    assert stopped.last_exit.reason == "requested"


async def test_a_backoff_goes_on_where_it_was(bench: Bench) -> None:
    it = VirtualInstance(now=bench.clock.mono).running()
    for _ in range(2):
        it.gone()
        if it.instance.launch is not None:
            it.started()
    assert it.status == "backoff"
    adopt(bench, slot(left_behind(it), SlotState.EMPTY))
    assert bench.status() == "backoff"
    bench.wait(1.0)
    started = await bench.started()
    assert started.restarts == it.instance.restarts + 1


@pytest.mark.parametrize("status", [InstanceStatus.STOPPED, InstanceStatus.ERROR])
async def test_what_is_down_stays_down(bench: Bench, status: InstanceStatus) -> None:
    it = VirtualInstance()
    adopt(bench, slot(replace(left_behind(it), status=status), SlotState.EMPTY))
    assert bench.status() == status
    assert bench.launcher.expected == []


async def test_a_living_slot_nobody_can_read_is_killed_and_released_and_then_used_again(bench: Bench) -> None:
    adopt(bench, slot(None, SlotState.RUNNING, exits=(process_exit("of-earlier"),)))
    bench.aim()
    assert bench.supervisor.instances == {}
    bench.supervisor.on_change(lambda _: bench.aim())
    await bench.started()
    assert bench.launcher.signals == [("echo_0", "SIGKILL")]
    assert bench.launcher.acknowledged == ["of-earlier", "of-before1"]
    assert bench.launcher.released == ["echo_0"]
    assert bench.launcher.expected == [None]


async def test_an_empty_slot_nobody_can_read_is_released_at_once(bench: Bench) -> None:
    adopt(bench, slot(None, SlotState.EMPTY, exits=(process_exit("of-before1"),)))
    assert bench.launcher.acknowledged == ["of-before1"]
    assert bench.launcher.released == ["echo_0"]
    assert bench.launcher.signals == []
    bench.aim()
    await bench.started()


async def test_credentials_that_cannot_be_removed_do_not_keep_a_manager_from_taking_over(bench: Bench) -> None:
    bench.identities.failure = OSError(30, "Read-only file system")
    adopt(bench, slot(left_behind(VirtualInstance().running()), SlotState.RUNNING))
    assert bench.status() == "running"
