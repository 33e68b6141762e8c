"""The supervisor: the real state machine over a launcher in memory."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from agent_manager.domain.clock import Now
from agent_manager.domain.errors import UnavailableError
from agent_manager.domain.instances import Heartbeat
from agent_manager.domain.restart_budget import BudgetPolicy
from agent_manager.domain.specification import HeartbeatPolicy, Readiness, ReadinessMode
from agent_manager.ports.launcher import LauncherError, SpawnFailedError
from tests.harness.domain import SPEC
from tests.harness.waiting import eventually
from tests.unit.services.bench import Bench
from tests.unit.services.bench import bench as made

SPEC_HEARTBEAT = SPEC.heartbeat or HeartbeatPolicy()
NO_HEARTBEAT = replace(SPEC, heartbeat=None, readiness=Readiness(mode=ReadinessMode.IMMEDIATE))


async def test_an_instance_is_spawned_started_and_runs_with_its_first_heartbeat(bench: Bench) -> None:
    bench.aim()
    assert bench.status() == "starting"
    started = await bench.started()
    assert bench.status() == "starting"
    assert started.launch is not None
    assert bench.identities.living == {started.launch.launch_id}
    bench.heartbeat(status="starting")
    assert bench.status() == "starting"
    bench.heartbeat()
    assert bench.status() == "running"
    assert bench.supervisor.heartbeats["echo_0"].number == 1


async def test_a_refused_spawn_is_tried_again_later_and_leaves_no_credentials(bench: Bench) -> None:
    bench.launcher.refusals = [SpawnFailedError("exec: no such file"), SpawnFailedError("exec: no such file")]
    bench.aim()
    waiting = await bench.until("backoff")
    assert "exec: no such file" in waiting.reason
    assert waiting.last_exit is not None
    assert waiting.last_exit.reason == "start-failed"
    assert bench.identities.living == set()
    bench.wait(1.0)
    started = await bench.started()
    assert started.restarts == 2


async def test_a_spawn_that_never_reached_its_slot_leaves_the_slot_as_expected(bench: Bench) -> None:
    bench.launcher.refusals = [LauncherError("invalid: env")]
    bench.aim()
    await bench.started()
    assert bench.launcher.expected == [None, None]
    bench.launcher.refusals = [LauncherError("invalid: env")]
    bench.launcher.end("echo_0")
    await bench.until("backoff")
    bench.wait(1.0)
    await eventually(lambda: len(bench.launcher.expected) == 3)
    await bench.until("backoff")
    bench.wait(1.0)
    await bench.started()
    first = bench.launcher.expected[2]
    assert first is not None
    assert bench.launcher.expected[2:] == [first, first]


async def test_credentials_that_cannot_be_made_fail_the_start_and_nothing_else(bench: Bench) -> None:
    bench.identities.failure = OSError(28, "No space left on device")
    bench.aim()
    waiting = await bench.until("backoff")
    assert "No space left on device" in waiting.reason
    assert bench.launcher.expected == []
    bench.identities.failure = None
    bench.wait(1.0)
    await bench.started()
    assert bench.launcher.expected == [None]


async def test_credentials_that_cannot_be_destroyed_stop_nobody(bench: Bench) -> None:
    await bench.running()
    bench.identities.failure = OSError(30, "Read-only file system")
    bench.launcher.end("echo_0", code=0)
    assert bench.status() == "starting"
    assert bench.supervisor.instances["echo_0"].last_exit is not None


async def test_an_exit_is_recorded_its_credentials_destroyed_and_the_instance_started_again(bench: Bench) -> None:
    before = await bench.running()
    assert before.launch is not None
    bench.launcher.end("echo_0", code=3)
    after = await bench.started()
    assert after.last_exit is not None
    assert after.last_exit.code == 3
    assert after.last_exit.launch_id == before.launch.launch_id
    assert after.restarts == 1
    assert before.launch.launch_id not in bench.identities.living
    assert bench.launcher.expected == [None, before.launch.launch_id]


async def test_a_new_launch_does_not_inherit_the_last_words_of_the_one_before(bench: Bench) -> None:
    await bench.running()
    bench.heartbeat(load=1.0)
    bench.launcher.end("echo_0")
    await bench.started()
    assert "echo_0" not in bench.supervisor.heartbeats


async def test_an_instance_tells_when_it_was_last_heard(bench: Bench) -> None:
    running = await bench.running()
    assert running.launch is not None
    bench.wait(1.0)
    bench.heartbeat()
    bench.wait(0.5)
    heard = bench.supervisor.instances["echo_0"].launch
    assert heard == running.launch.heard(Now(mono=bench.clock.now().mono - 0.5, wall=bench.clock.now().wall - 0.5))


async def test_who_is_heard_in_time_is_not_silent_though_nobody_has_looked(bench: Bench) -> None:
    bench.see()
    await bench.running()
    bench.wait(SPEC_HEARTBEAT.timeout_s - 1.0)
    bench.heartbeat()
    bench.wait(1.0)
    # `eventually` would look.
    await a_few_turns()
    assert bench.status() == "running"


async def test_what_another_launch_says_is_ignored(bench: Bench) -> None:
    before = await bench.running()
    assert before.launch is not None
    bench.launcher.end("echo_0")
    await bench.started()
    heartbeat = Heartbeat(number=7)
    bench.supervisor.heartbeat("echo_0", before.launch.launch_id, heartbeat)
    bench.supervisor.heartbeat("nobody_0", "launch1", heartbeat)
    assert bench.status() == "starting"
    assert bench.supervisor.heartbeats == {}


async def a_few_turns() -> None:
    """Of the event loop: what is told at the end of one has been told."""
    for _ in range(3):
        await asyncio.sleep(0)


async def test_metadata_is_written_on_every_change_but_not_on_mere_heartbeats(bench: Bench) -> None:
    await bench.running()
    await a_few_turns()
    assert bench.launcher.metadata["echo_0"] == bench.instance()
    written = len(bench.launcher.updates)
    bench.clock.advance(1.0)
    for _ in range(5):
        bench.heartbeat()
    await a_few_turns()
    assert len(bench.launcher.updates) == written
    bench.aim(run=False)
    await a_few_turns()
    assert bench.launcher.updates[written].target.run is False


async def test_what_changes_in_one_turn_is_told_once_and_a_new_launch_takes_it_along(bench: Bench) -> None:
    await bench.running()
    await a_few_turns()
    written = len(bench.launcher.updates)
    bench.launcher.end("echo_0")
    await bench.started()
    await a_few_turns()
    assert [instance.status for instance in bench.launcher.updates[written:]] == ["starting"]
    assert bench.launcher.metadata["echo_0"] == bench.instance()


async def test_a_launch_that_waits_for_its_turn_takes_nothing_along_yet() -> None:
    async with made(starts_at_once=1) as bench:
        await bench.running("echo_0")
        bench.aim(agent_id="slow", ordinal=0)
        await bench.started("slow_0")
        bench.launcher.end("echo_0", code=3)
        await eventually(lambda: bench.launcher.metadata["echo_0"].last_exit is not None)
        told = bench.launcher.metadata["echo_0"]
        assert told.last_exit is not None
        assert told.last_exit.code == 3
        assert told.launch is not None
        assert told.launch.ended
        assert bench.launcher.slots["echo_0"] == told.launch.launch_id


async def test_whoever_takes_over_knows_why_a_process_is_told_to_end(bench: Bench) -> None:
    await bench.running()
    bench.aim(run=False)
    bench.supervisor.hurry()
    assert bench.launcher.signals
    assert bench.launcher.metadata["echo_0"] == bench.instance()


async def test_the_same_aim_again_changes_nothing(bench: Bench) -> None:
    await bench.running()
    calls: list[str] = []
    bench.supervisor.on_change(calls.append)
    written = len(bench.launcher.updates)
    bench.aim()
    assert (calls, len(bench.launcher.updates)) == ([], written)


async def test_a_stop_drains_first_and_then_signals(bench: Bench) -> None:
    await bench.running()
    bench.aim(run=False)
    stopped = await bench.until("stopped")
    assert bench.channel.asked == [("echo_0", "drain")]
    assert bench.launcher.signals == [("echo_0", "SIGTERM")]
    assert stopped.last_exit is not None
    assert stopped.last_exit.reason == "requested"


async def test_one_that_cannot_be_asked_to_drain_is_signalled_at_once(bench: Bench) -> None:
    bench.channel.refusal = UnavailableError("echo_0 does not listen on the bus")
    await bench.running()
    bench.aim(run=False)
    await bench.until("stopped")
    assert bench.launcher.signals == [("echo_0", "SIGTERM")]


async def test_a_stop_before_the_process_is_there_takes_effect_when_it_is(bench: Bench) -> None:
    bench.launcher.gate.clear()
    bench.aim()
    bench.aim(run=False)
    assert bench.status() == "stopping"
    bench.launcher.gate.set()
    await bench.until("stopped")
    assert bench.launcher.signals == [("echo_0", "SIGTERM")]


async def test_each_instance_stops_by_its_own_ladder_and_a_slow_one_delays_nobody(bench: Bench) -> None:
    for ordinal in range(3):
        await bench.running(f"echo_{ordinal}")
    bench.channel.silent = True
    await bench.running("quick_0", spec=NO_HEARTBEAT)
    stopping = bench.tasks.create_task(bench.supervisor.stop_all())
    await bench.until("stopped", "quick_0")
    assert [bench.status(f"echo_{ordinal}") for ordinal in range(3)] == ["stopping"] * 3
    assert not stopping.done()
    bench.wait(SPEC.stop.drain_timeout_s)
    await stopping
    assert {instance.status.value for instance in bench.supervisor.instances.values()} == {"stopped"}


async def test_stopping_everything_also_ends_what_waits_to_be_restarted(bench: Bench) -> None:
    bench.launcher.refusals = [SpawnFailedError("no"), SpawnFailedError("no")]
    bench.aim()
    await bench.until("backoff")
    await bench.supervisor.stop_all()
    assert bench.status() == "stopped"
    bench.wait(60.0)
    assert bench.launcher.running == set()


async def test_a_hurry_kills_what_is_on_its_way_down_and_nothing_else(bench: Bench) -> None:
    bench.channel.silent = True
    await bench.running("echo_0")
    await bench.running("other_0")
    bench.aim(run=False)
    bench.supervisor.hurry()
    await bench.until("stopped")
    assert bench.launcher.signals == [("echo_0", "SIGKILL")]
    assert bench.status("other_0") == "running"


async def test_a_hurry_that_comes_before_the_stop_is_remembered(bench: Bench) -> None:
    bench.channel.silent = True
    await bench.running()
    bench.supervisor.hurry()
    await bench.supervisor.stop_all()
    assert bench.launcher.signals == [("echo_0", "SIGKILL")]


async def test_a_retired_instance_is_stopped_and_then_forgotten(bench: Bench) -> None:
    bench.tasks.create_task(bench.journal.run())
    await bench.running()
    bench.supervisor.retire("echo_0")
    assert bench.status() == "stopping"
    bench.supervisor.retire("echo_0")
    await bench.until("stopped")
    bench.supervisor.retire("echo_0")
    assert bench.supervisor.instances == {}
    await bench.journal.flushed()
    assert bench.launcher.slots == {}
    assert bench.launcher.acknowledged == ["launch1"]


async def test_an_instance_that_is_wanted_again_waits_until_its_old_slot_is_released(bench: Bench) -> None:
    await bench.running()
    bench.aim(run=False)
    await bench.until("stopped")
    bench.supervisor.retire("echo_0")
    bench.aim()
    assert bench.supervisor.instances == {}
    bench.supervisor.on_change(lambda _: bench.aim())
    bench.tasks.create_task(bench.journal.run())
    await bench.started()
    assert bench.launcher.expected == [None, None]


async def test_silence_makes_inactive_and_then_kills(bench: Bench) -> None:
    bench.see()
    await bench.running()
    bench.wait(SPEC_HEARTBEAT.timeout_s)
    await bench.until("inactive")
    bench.wait(SPEC_HEARTBEAT.interval_s)
    await eventually(lambda: bench.instance().restarts == 1)
    assert bench.launcher.signals == [("echo_0", "SIGABRT")]
    last_exit = bench.instance().last_exit
    assert last_exit is not None
    assert last_exit.reason == "watchdog"


async def test_a_heartbeat_wakes_an_inactive_instance(bench: Bench) -> None:
    bench.see()
    await bench.running()
    bench.wait(SPEC_HEARTBEAT.timeout_s)
    await bench.until("inactive")
    bench.heartbeat()
    assert bench.status() == "running"


async def test_silence_does_not_count_while_the_bus_is_away_and_is_measured_anew_afterwards(bench: Bench) -> None:
    bench.see()
    await bench.running()
    other = await bench.running("other_0", spec=NO_HEARTBEAT)
    bench.eyesight.closed()
    bench.wait(10 * SPEC_HEARTBEAT.timeout_s)
    bench.eyesight.opened()
    bench.wait(SPEC_HEARTBEAT.timeout_s - 1.0)
    bench.launcher.end("other_0")
    # Timers that were due would have fired before this start has come back.
    await eventually(lambda: bench.instance("other_0").restarts == other.restarts + 1)
    await bench.started("other_0")
    assert bench.status() == "running"


async def test_silence_does_not_count_while_this_process_was_held_up(bench: Bench) -> None:
    bench.see()
    await bench.running()
    bench.clock.advance(10 * SPEC_HEARTBEAT.timeout_s)
    bench.supervisor.sight_changed()
    since = bench.eyesight.since
    await eventually(lambda: bench.eyesight.since != since)
    assert bench.status() == "running"


async def test_waiting_looks_again_after_each_change_and_gives_up_in_time(bench: Bench) -> None:
    assert not await bench.supervisor.until(lambda: bench.status() == "running", 0.01)
    waiting = bench.tasks.create_task(bench.supervisor.until(lambda: bench.status() == "running", 60.0))
    await bench.running()
    assert await waiting


async def test_what_is_said_of_an_instance_nobody_knows_is_cleared(bench: Bench) -> None:
    bench.launcher.slots["stray_0"] = "launch9"
    bench.launcher.running.add("stray_0")
    bench.launcher.end("stray_0")
    assert bench.launcher.acknowledged == ["launch9"]
    assert bench.launcher.released == ["stray_0"]


async def test_only_so_many_start_at_once_and_the_others_when_these_are_up() -> None:
    async with made(starts_at_once=2) as bench:
        for ordinal in range(4):
            bench.aim(ordinal=ordinal)
        await eventually(lambda: len(bench.launcher.running) == 2)
        await bench.started("echo_0")
        await bench.started("echo_1")
        assert bench.launcher.running == {"echo_0", "echo_1"}
        bench.heartbeat("echo_0")
        await eventually(lambda: bench.launcher.running == {"echo_0", "echo_1", "echo_2"})


async def test_an_instance_that_is_stopped_while_it_waits_for_its_turn_is_never_started() -> None:
    async with made(starts_at_once=1) as bench:
        bench.aim(ordinal=0)
        bench.aim(ordinal=1)
        await bench.started("echo_0")
        assert bench.status("echo_1") == "starting"
        bench.aim(ordinal=1, run=False)
        await eventually(lambda: bench.status("echo_1") == "stopped")
        assert len(bench.launcher.expected) == 1
        bench.aim(ordinal=1)
        bench.heartbeat("echo_0")
        await bench.started("echo_1")


async def test_what_has_changed_while_a_launch_waited_is_kept_with_its_slot() -> None:
    async with made(starts_at_once=1) as bench:
        bench.aim(ordinal=0)
        bench.aim(ordinal=1)
        await bench.started("echo_0")
        other = replace(SPEC, version="2.0.0")
        bench.aim(ordinal=1, spec=other)
        assert [update.id for update in bench.launcher.updates if update.ordinal == 1] == []
        bench.heartbeat("echo_0")
        await bench.started("echo_1")
        assert bench.launcher.metadata["echo_1"].target.spec == other


async def test_a_node_that_restarts_too_much_makes_restarts_wait() -> None:
    async with made(budget=BudgetPolicy(burst=1, per_s=0.1)) as bench:
        for ordinal in range(2):
            bench.aim(ordinal=ordinal)
            await bench.started(f"echo_{ordinal}")
            bench.heartbeat(f"echo_{ordinal}")
        bench.launcher.end("echo_0")
        assert bench.status("echo_0") == "starting"
        bench.launcher.end("echo_1")
        assert bench.status("echo_1") == "backoff"
        bench.wait(11.0)
        await bench.started("echo_1")


@pytest.mark.parametrize("step_s", [3_600.0, -3_600.0])
async def test_a_step_of_the_wall_clock_changes_nothing(bench: Bench, step_s: float) -> None:
    bench.see()
    await bench.running()
    await bench.running("other_0")
    bench.launcher.end("other_0", code=1)
    await bench.started("other_0")
    history = bench.instance("other_0").history
    bench.clock.wall += step_s
    bench.wait(1.0)
    assert (bench.status(), bench.instance().restarts) == ("running", 0)
    assert bench.instance("other_0").history == history
    assert bench.launcher.signals == []
    # What is due is due after as much time as before, and what is told bears the time of the clock.
    bench.wait(SPEC_HEARTBEAT.timeout_s)
    await bench.until("inactive")
    assert bench.instance().since_wall == pytest.approx(bench.clock.wall, abs=SPEC_HEARTBEAT.timeout_s)
    bench.heartbeat()
    assert bench.status() == "running"
