"""The state machine of one instance, on a virtual clock."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_manager.adapters.codec import INSTANCE
from agent_manager.domain import stop_ladder
from agent_manager.domain.exits import ExitReason, LastLines
from agent_manager.domain.instances import InstanceStatus
from agent_manager.domain.occurrences import (
    Drained,
    Emptied,
    Exited,
    HeartbeatSeen,
    Hurry,
    Occurrence,
    StartFailed,
    TimerDue,
    Withdrawn,
)
from agent_manager.domain.specification import (
    HeartbeatPolicy,
    OnInactive,
    Readiness,
    ReadinessMode,
    ResourceLimits,
    RestartMode,
    RestartPolicy,
    StopPolicy,
)
from agent_manager.domain.steps import Action, CountRestart, Drain, RecordExit, Signal, Spawn
from tests.harness.domain import SPEC, VirtualInstance, process_exit

PLAIN = replace(SPEC, heartbeat=None, readiness=Readiness(mode=ReadinessMode.IMMEDIATE))


def signals(actions: list[Action]) -> list[str]:
    return [action.signal for action in actions if isinstance(action, Signal)]


# ---------------------------------------------------------------- coming up


def test_a_wanted_instance_is_spawned_and_runs_after_its_first_heartbeat() -> None:
    it = VirtualInstance()
    (spawn,) = it.target(run=True)
    assert isinstance(spawn, Spawn)
    assert (spawn.expected_launch_id, spawn.launch.incarnation) == (None, 1)
    assert it.status == "starting"
    it.started(pid=42)
    assert it.status == "starting"
    it.heartbeat()
    assert it.status == "running"


def test_a_heartbeat_that_says_starting_does_not_make_it_ready() -> None:
    it = VirtualInstance()
    it.target(run=True)
    it.started()
    it.heartbeat(ready=False)
    assert it.status == "starting"
    it.heartbeat()
    assert it.status == "running"


def test_an_executable_without_heartbeat_runs_as_soon_as_it_is_started() -> None:
    it = VirtualInstance(spec=PLAIN)
    it.target(run=True)
    it.started()
    assert it.status == "running"
    assert it.wait(10_000.0) == []


def test_the_same_target_again_changes_nothing() -> None:
    it = VirtualInstance().running()
    assert it.target(run=True) == []
    assert it.status == "running"


def test_not_ready_in_time_is_terminated_and_counts_as_a_failed_start() -> None:
    it = VirtualInstance()
    it.target(run=True)
    it.started()
    assert signals(it.wait(30.0)) == ["SIGTERM"]
    assert it.status == "stopping"
    actions = it.gone(code=None, signal=15)
    recorded = next(action.exit for action in actions if isinstance(action, RecordExit))
    assert recorded.reason is ExitReason.START_TIMEOUT
    assert "30 s" in recorded.message
    assert "no heartbeat came" in recorded.message
    assert "`heartbeat: none`" in recorded.message
    assert any(isinstance(action, Spawn) for action in actions)


def test_what_cannot_be_started_backs_off_with_the_launchers_words() -> None:
    it = VirtualInstance()
    it.target(run=True)
    it.feed(StartFailed(launch_id=it.launch_id, message="exec: no such file"))
    it.feed(StartFailed(launch_id=it.launch_id, message="exec: no such file"))
    assert it.status == "backoff"
    assert "exec: no such file" in it.instance.reason
    assert it.instance.last_exit is not None
    assert it.instance.last_exit.reason is ExitReason.START_FAILED


# ---------------------------------------------------------------- crashes


def test_a_crash_is_restarted_at_once_with_the_slot_compared() -> None:
    it = VirtualInstance().running()
    fallen = it.launch_id
    spawn = next(action for action in it.gone(code=None, signal=9) if isinstance(action, Spawn))
    assert spawn.expected_launch_id == fallen
    assert spawn.launch.launch_id != fallen
    assert it.instance.restarts == 1
    assert it.instance.last_exit is not None
    assert (it.instance.last_exit.reason, it.instance.last_exit.signal) == (ExitReason.CRASH, 9)


@pytest.mark.parametrize("restarted_meanwhile", [False, True])
def test_last_lines_complete_the_exit_and_decide_nothing(restarted_meanwhile: bool) -> None:
    it = VirtualInstance().running()
    fallen = it.launch_id
    _ = it.gone() if restarted_meanwhile else it.exited()
    before, last_lines = it.instance, LastLines(err=("no such file",))
    said_again = Exited(exit=replace(process_exit(fallen), last_lines=last_lines))
    assert it.instance.last_exit is not None
    complete = replace(it.instance.last_exit, last_lines=last_lines)
    assert it.feed(said_again) == [RecordExit(exit=complete)]
    assert it.instance.last_exit == complete
    it.feed(Exited(exit=process_exit(fallen)))
    assert it.instance.last_exit == complete
    assert replace(it.instance, launch=before.launch, last_exit=before.last_exit) == before
    if not restarted_meanwhile:
        it.feed(Emptied(launch_id=fallen))
        assert it.instance.last_exit == replace(complete, early=True)


def test_last_lines_of_an_earlier_launch_are_recorded_with_it_alone() -> None:
    it = VirtualInstance().running()
    fallen = it.launch_id
    it.gone()
    it.started()
    it.gone(code=2)
    before = it.instance
    (record,) = it.feed(Exited(exit=replace(process_exit(fallen), last_lines=LastLines(out=("late",)))))
    assert isinstance(record, RecordExit)
    assert (record.exit.launch_id, record.exit.last_lines) == (fallen, LastLines(out=("late",)))
    assert it.instance == before


def test_a_start_that_is_told_after_the_end_does_not_make_it_run() -> None:
    it = VirtualInstance(spec=replace(SPEC, readiness=Readiness(mode=ReadinessMode.IMMEDIATE), heartbeat=None))
    it.target(run=True)
    it.exited()
    assert it.started(pid=7) == []
    assert it.instance.launch is not None
    assert (it.status, it.instance.present_status, it.instance.launch.pid) == ("starting", "stopping", 7)


def test_nothing_is_restarted_before_the_tree_is_empty() -> None:
    it = VirtualInstance().running()
    assert [type(action) for action in it.exited()] == [RecordExit]
    assert it.wait(100.0) == []


def test_a_crash_loop_backs_off_and_ends_in_error_with_its_reason() -> None:
    it = VirtualInstance(spec=replace(SPEC, restart=RestartPolicy(max_restarts=4)))
    it.running()
    seen = []
    for _ in range(5):
        it.gone(code=3)
        seen.append(it.status)
        it.wait(1.0 if it.status == "backoff" else 0.0)
    assert seen == ["starting", "backoff", "backoff", "backoff", "error"]
    assert "exited with code 3" in it.instance.reason
    assert "max_restarts=4" in it.instance.reason
    assert it.wait(10_000.0) == []


def test_a_start_command_forgives_what_went_wrong_before() -> None:
    it = VirtualInstance(spec=replace(SPEC, restart=RestartPolicy(max_restarts=0)))
    it.running()
    it.gone()
    assert it.status == "error"
    assert it.target(run=True) == []
    assert any(isinstance(action, Spawn) for action in it.target(run=True, start_serial=1))
    assert it.instance.history.restarted_at == ()


def test_a_start_command_ends_the_wait_of_a_backoff() -> None:
    it = VirtualInstance().running()
    it.gone()
    it.gone()
    assert it.status == "backoff"
    assert any(isinstance(action, Spawn) for action in it.target(run=True, start_serial=1))


def test_exit_0_under_on_failure_stays_stopped() -> None:
    it = VirtualInstance(spec=replace(SPEC, restart=RestartPolicy(policy=RestartMode.ON_FAILURE)))
    it.running()
    it.gone(code=0)
    assert it.status == "stopped"
    assert "on-failure" in it.instance.reason
    assert it.target(run=True) == []
    assert it.wait(10_000.0) == []


# ---------------------------------------------------------------- silence


def test_silence_makes_it_inactive_then_the_watchdog_kills_and_restarts_it() -> None:
    it = VirtualInstance(spec=replace(SPEC, heartbeat=HeartbeatPolicy(interval_s=5.0, timeout_s=60.0)))
    it.running()
    it.wait(59.9)
    assert it.status == "running"
    it.wait(0.2)
    assert it.status == "inactive"
    assert "60 s" in it.instance.reason
    # A Python program tells its stacks then; what does not even do that is killed.
    assert signals(it.wait(5.0)) == ["SIGABRT"]
    assert signals(it.wait(2.0)) == ["SIGKILL"]
    actions = it.gone(code=None, signal=9)
    recorded = next(action.exit for action in actions if isinstance(action, RecordExit))
    assert recorded.reason is ExitReason.WATCHDOG
    assert it.status == "starting"


def test_a_program_that_is_no_python_is_killed_at_once_when_it_hangs() -> None:
    it = VirtualInstance(spec=replace(SPEC, entrypoint=None, command=("./run",))).running()
    it.wait(61.0)
    assert signals(it.wait(5.0)) == ["SIGKILL"]


def test_a_heartbeat_brings_an_inactive_instance_back() -> None:
    it = VirtualInstance().running()
    it.wait(61.0)
    assert it.status == "inactive"
    it.heartbeat()
    assert it.status == "running"
    assert it.wait(59.0) == []


def test_on_inactive_mark_kills_nobody() -> None:
    it = VirtualInstance(spec=replace(SPEC, heartbeat=HeartbeatPolicy(on_inactive=OnInactive.MARK)))
    it.running()
    assert it.wait(10_000.0) == []
    assert it.status == "inactive"


def test_time_without_the_bus_does_not_count_as_silence() -> None:
    it = VirtualInstance().running()
    it.observing_since = None
    assert it.wait(10_000.0) == []
    assert it.status == "running"
    it.observing_since = it.now
    it.wait(59.0)
    assert it.status == "running"
    it.wait(2.0)
    assert it.status == "inactive"


def test_time_without_the_bus_does_not_count_towards_the_start_timeout() -> None:
    it = VirtualInstance(observing_since=None)
    it.target(run=True)
    it.started()
    it.wait(10_000.0)
    it.observing_since = it.now
    it.wait(29.0)
    assert it.status == "starting"


# ---------------------------------------------------------------- stopping


def test_a_stop_drains_then_terminates_then_kills_each_in_its_time() -> None:
    it = VirtualInstance(spec=replace(SPEC, stop=StopPolicy(signal="SIGINT", timeout_s=5.0, drain_timeout_s=10.0)))
    it.running()
    (drain,) = it.target(run=False)
    assert isinstance(drain, Drain)
    assert drain.timeout_s == 10.0
    assert it.status == "stopping"
    assert signals(it.wait(10.0)) == ["SIGINT"]
    assert it.wait(4.9) == []
    assert signals(it.wait(0.2)) == ["SIGKILL"]
    it.gone(code=None, signal=9)
    assert it.status == "stopped"
    assert it.instance.last_exit is not None
    assert it.instance.last_exit.reason is ExitReason.REQUESTED


def test_an_answered_drain_goes_on_to_the_signal_at_once() -> None:
    it = VirtualInstance().running()
    it.target(run=False)
    assert signals(it.drained()) == ["SIGTERM"]


def test_a_kill_that_does_not_work_is_repeated_but_not_in_a_tight_loop() -> None:
    it = VirtualInstance(spec=replace(PLAIN, stop=StopPolicy(timeout_s=0.0)))
    it.target(run=True)
    it.started()
    assert signals(it.target(run=False)) == ["SIGTERM"]
    assert signals(it.wait(3.0)) == ["SIGKILL"] * 4


def test_a_plain_executable_is_signalled_without_a_drain() -> None:
    it = VirtualInstance(spec=PLAIN)
    it.target(run=True)
    it.started()
    assert signals(it.target(run=False)) == ["SIGTERM"]


def test_stopped_is_reported_only_when_the_tree_is_empty() -> None:
    it = VirtualInstance().running()
    it.target(run=False)
    it.exited(code=0)
    assert it.status == "stopping"
    it.feed(Emptied(launch_id=it.launch_id))
    assert it.status == "stopped"


def test_a_stop_asked_for_before_there_is_a_process_reaches_it_once_there_is() -> None:
    it = VirtualInstance()
    it.target(run=True)
    assert it.target(run=False) == []
    assert signals(it.started()) == ["SIGTERM"]


def test_a_stop_during_backoff_is_immediate() -> None:
    it = VirtualInstance().running()
    it.gone()
    it.gone()
    assert it.status == "backoff"
    it.target(run=False)
    assert it.status == "stopped"
    assert it.wait(1000.0) == []


def test_a_start_during_a_stop_runs_again_once_it_is_down() -> None:
    it = VirtualInstance().running()
    it.target(run=False)
    it.target(run=True, start_serial=1)
    assert it.status == "stopping"
    assert any(isinstance(action, Spawn) for action in it.gone(code=0))


def test_a_restart_command_gives_a_new_incarnation_and_is_no_failure() -> None:
    it = VirtualInstance(spec=replace(SPEC, restart=RestartPolicy(policy=RestartMode.NEVER)))
    it.running()
    it.target(run=True, restart_serial=1)
    assert it.status == "stopping"
    actions = it.gone(code=0)
    spawn = next(action for action in actions if isinstance(action, Spawn))
    assert (spawn.launch.incarnation, spawn.launch.restart_serial) == (2, 1)
    assert it.instance.restarts == 0


def test_hurry_kills_what_is_stopping_and_nothing_else() -> None:
    it = VirtualInstance().running()
    assert it.feed(Hurry()) == []
    it.target(run=False)
    assert signals(it.feed(Hurry())) == ["SIGKILL"]


@pytest.mark.parametrize("mode", [RestartMode.NEVER, RestartMode.ON_FAILURE, RestartMode.ALWAYS])
@pytest.mark.parametrize("commands", [{"start_serial": 1}, {"start_serial": 1, "restart_serial": 1}])
def test_a_command_that_comes_while_a_launch_goes_down_is_carried_out_afterwards(
    mode: RestartMode, commands: dict[str, int]
) -> None:
    it = VirtualInstance(spec=replace(SPEC, restart=RestartPolicy(policy=mode, max_restarts=0))).running()
    it.exited(code=0)
    it.target(run=True, **commands)
    assert not it.instance.settled
    (spawn,) = it.feed(Emptied(launch_id=it.launch_id))
    assert isinstance(spawn, Spawn)
    assert spawn.launch.restart_serial == commands.get("restart_serial", 0)
    assert it.instance.acted_start_serial == 1


def test_nothing_is_settled_between_the_end_of_a_process_and_what_follows_from_it() -> None:
    it = VirtualInstance().running()
    before = it.instance
    it.exited()
    after = it.instance
    assert (before.settled, before.present_status) == (True, InstanceStatus.RUNNING)
    assert (after.settled, after.present_status) == (False, InstanceStatus.STOPPING)


def test_an_end_that_only_an_earlier_manager_saw_is_followed_like_a_crash() -> None:
    it = VirtualInstance().running()
    _, spawn = it.feed(Emptied(launch_id=it.launch_id))
    assert isinstance(spawn, Spawn)
    assert it.instance.last_exit is not None
    assert it.instance.last_exit.reason is ExitReason.CRASH
    assert "on record" in it.instance.last_exit.message


def test_an_end_that_only_an_earlier_manager_saw_completes_a_stop() -> None:
    it = VirtualInstance().running()
    it.target(run=False)
    assert it.feed(Emptied(launch_id=it.launch_id)) == []
    assert it.status == "stopped"


# ---------------------------------------------------------------- late and foreign news


@pytest.mark.parametrize(
    "news",
    [
        HeartbeatSeen(launch_id="of-yesterday"),
        Emptied(launch_id="of-yesterday"),
        Drained(launch_id="of-yesterday"),
        StartFailed(launch_id="of-yesterday", message="?"),
    ],
)
def test_news_of_another_launch_change_nothing(news: Occurrence) -> None:
    it = VirtualInstance().running()
    before = it.instance
    assert it.feed(news) == []
    assert it.instance == before


def test_an_exit_of_an_earlier_launch_is_recorded_and_decides_nothing() -> None:
    it = VirtualInstance().running()
    (record,) = it.feed(Exited(exit=process_exit("of-yesterday", code=7)))
    assert isinstance(record, RecordExit)
    assert record.exit.code == 7
    assert it.status == "running"


def test_an_exit_told_twice_is_recorded_alike_and_decided_once() -> None:
    it = VirtualInstance().running()
    ended = process_exit(it.launch_id, code=7)
    first, second = it.feed(Exited(exit=ended)), it.feed(Exited(exit=ended))
    assert first == second


def test_a_timer_that_fires_too_early_changes_nothing() -> None:
    it = VirtualInstance().running()
    before = it.instance
    assert it.feed(TimerDue()) == []
    assert it.instance == before


# ---------------------------------------------------------------- taken over


@pytest.mark.parametrize("rungs", [0, 1, 2])
def test_a_new_manager_repeats_the_present_rung_of_the_ladder(rungs: int) -> None:
    it = VirtualInstance(spec=replace(SPEC, stop=StopPolicy(timeout_s=5.0, drain_timeout_s=5.0))).running()
    it.target(run=False)
    for _ in range(rungs):
        it.wait(5.0)
    (again,) = stop_ladder.resume(it.instance)
    expected = [Drain, Signal, Signal][rungs]
    assert isinstance(again, expected)
    assert signals([again]) == [[], ["SIGTERM"], ["SIGKILL"]][rungs]


OCCURRENCES = st.sampled_from(
    ["run", "stop", "start", "restart", "started", "start_failed", "heartbeat", "drained", "exited", "empty", "wait"]
)


def _happen(it: VirtualInstance, what: str) -> None:
    target, launch = it.instance.target, it.instance.launch
    match what:
        case "run" | "stop":
            it.target(run=what == "run")
        case "start":
            it.target(run=True, start_serial=target.start_serial + 1)
        case "restart":
            it.target(run=True, restart_serial=target.restart_serial + 1, start_serial=target.start_serial + 1)
        case "wait":
            it.wait(7.0)
    if launch is None:
        return
    alive = launch.pid is not None and not launch.ended
    match what:
        case "started" if launch.pid is None:
            it.started()
        case "start_failed" if launch.pid is None:
            it.feed(StartFailed(launch_id=launch.launch_id, message="?"))
        case "heartbeat" if alive:
            it.heartbeat()
        case "drained" if alive:
            it.drained()
        case "exited" if alive:
            it.exited()
        case "empty" if launch.ended:
            it.feed(Emptied(launch_id=launch.launch_id))


@settings(max_examples=300)
@given(st.lists(OCCURRENCES, max_size=40))
def test_whatever_happens_there_is_one_process_at_most_and_a_way_on(story: list[str]) -> None:
    it = VirtualInstance()
    live: set[str] = set()
    for what in story:
        before = it.instance.launch
        it.actions.clear()
        _happen(it, what)
        for action in it.actions:
            if isinstance(action, Spawn):
                assert before is None or before.ended or what == "start_failed"
        live = {it.launch_id} if it.instance.launch is not None else set()
        assert len(live) <= 1
        assert (it.instance.launch is not None) == (it.status in {"starting", "running", "inactive", "stopping"})
        assert (it.instance.start_at is not None) == (it.status == "backoff")
        assert INSTANCE.decode(INSTANCE.encode(it.instance)) == it.instance
    # Told to stop, with processes that die of SIGKILL, it always comes to rest.
    it.target(run=False)
    for _ in range(10):
        if it.instance.launch is None:
            break
        if it.instance.launch.pid is None:
            it.started()
        it.wait(20.0)
        if not it.instance.launch.ended:
            it.exited(code=None, signal=9)
        it.feed(Emptied(launch_id=it.launch_id))
    assert it.instance.status is InstanceStatus.STOPPED
    assert it.instance.settled


# ---------------------------------------------------------------- waiting for one's turn


def test_a_launch_that_waits_for_its_turn_is_not_late() -> None:
    it = VirtualInstance()
    it.target(run=True)
    it.wait(1000.0)
    assert it.status == "starting"
    it.started()
    it.wait(29.0)
    assert it.status == "starting"
    it.wait(2.0)
    assert it.status == "stopping"


def test_a_launch_that_is_stopped_before_its_turn_has_never_been() -> None:
    it = VirtualInstance()
    it.target(run=True)
    it.target(run=False)
    assert it.feed(Withdrawn(launch_id=it.launch_id)) == []
    assert (it.status, it.instance.held, it.instance.last_exit) == ("stopped", None, None)
    assert it.instance.settled


def test_a_launch_that_is_restarted_before_its_turn_is_another_one() -> None:
    it = VirtualInstance()
    it.target(run=True)
    withdrawn = it.launch_id
    it.target(run=True, restart_serial=1)
    (spawn,) = it.feed(Withdrawn(launch_id=withdrawn))
    assert isinstance(spawn, Spawn)
    assert (spawn.launch.restart_serial, spawn.expected_launch_id) == (1, None)
    assert it.launch_id != withdrawn


def test_a_restart_counts_against_the_budget_of_its_node_and_waits_for_it() -> None:
    it = VirtualInstance(restart_wait_s=7.0).running()
    it.exited()
    assert it.feed(Emptied(launch_id=it.launch_id)) == [CountRestart()]
    assert it.status == "backoff"
    assert it.instance.start_at == it.now + 7.0
    assert it.instance.reason.endswith("restart in 7.0 s, when the node's budget of restarts allows it")


def test_what_somebody_asks_for_counts_against_no_budget() -> None:
    it = VirtualInstance(restart_wait_s=7.0).running()
    it.target(run=True, restart_serial=1)
    it.exited()
    (spawn,) = it.feed(Emptied(launch_id=it.launch_id))
    assert isinstance(spawn, Spawn)


# ---------------------------------------------------------------- why it ended, and whether a restart is of use


def ended(it: VirtualInstance, *, said: str | None = None, **how: Any) -> list[Action]:
    """The present launch ends; its last words are told in the end, or not at all."""
    launch_id = it.launch_id
    it.exited(**how)
    it.feed(Emptied(launch_id=launch_id))
    if said is None:
        return []
    told = process_exit(launch_id, last_lines=LastLines(err=tuple(said.splitlines())), **how)
    return it.feed(Exited(exit=told))


@pytest.mark.parametrize(
    "said",
    [
        "Traceback (most recent call last):\n  ...\nModuleNotFoundError: No module named 'reqests'",
        "  File 'agent.py', line 3\n    def f(:\nSyntaxError: invalid syntax",
        "ImportError: cannot import name 'x' from 'y'",
        "Error: Cannot find module 'expres'\nRequire stack:\n- /app/agent.js\n\nNode.js v20.20.2",
        "agent_manager.sdk.errors.DefinitionError: command 'status' is built in",
    ],
)
def test_what_cannot_be_loaded_is_not_started_again_and_again(said: str) -> None:
    it = VirtualInstance()
    it.target(run=True)
    it.started()
    ended(it, said=said, code=1)
    assert it.status == "error"
    assert it.instance.start_at is None
    assert "no restart mends that" in it.instance.reason
    assert any(line in it.instance.reason for line in said.splitlines())
    assert it.wait(1000.0) == []
    it.target(run=True, start_serial=1)
    assert it.status == "starting"


@pytest.mark.parametrize(("code", "said"), [(78, "configuration is wrong"), (127, "not found"), (126, "executed")])
def test_codes_that_say_so_are_permanent(code: int, said: str) -> None:
    it = VirtualInstance()
    it.target(run=True)
    it.started()
    ended(it, code=code)
    assert it.status == "error"
    assert said in it.instance.reason


def test_a_module_that_is_missing_late_is_a_crash_like_any_other() -> None:
    it = VirtualInstance().running()
    it.wait(31.0)
    it.heartbeat()
    ended(it, said="ModuleNotFoundError: No module named 'lazy'", code=1)
    assert it.status == "starting"


def test_what_has_never_been_ready_is_started_again_after_a_moment() -> None:
    it = VirtualInstance()
    it.target(run=True)
    it.started()
    ended(it, said="ValueError: for now", code=1)
    assert (it.status, it.instance.start_at) == ("backoff", it.now + 0.3)


def test_a_kill_for_want_of_memory_is_named() -> None:
    it = VirtualInstance(spec=replace(SPEC, limits=ResourceLimits(memory_mb=64))).running()
    it.feed(Exited(exit=process_exit(it.launch_id, code=None, signal=9, oom_killed=True)))
    assert it.instance.last_exit is not None
    assert it.instance.last_exit.reason is ExitReason.OOM
    assert "limits.memory_mb is 64" in it.instance.last_exit.message
    assert it.instance.last_exit.failed


def test_the_end_of_its_processor_time_is_named() -> None:
    it = VirtualInstance(spec=replace(SPEC, limits=ResourceLimits(cpu_seconds=10))).running()
    it.feed(Exited(exit=process_exit(it.launch_id, code=None, signal=24)))
    assert it.instance.last_exit is not None
    assert "limits.cpu_seconds (10)" in it.instance.last_exit.message


def test_an_older_line_is_no_last_word() -> None:
    it = VirtualInstance()
    it.target(run=True)
    it.started()
    ended(it, said="ModuleNotFoundError: No module named 'uvloop'\nConnectionRefusedError: [Errno 111]", code=1)
    assert it.status == "backoff"


def test_what_was_healthy_for_long_is_not_given_up_while_it_waits() -> None:
    it = VirtualInstance(restart_wait_s=60.0).running()
    it.wait(40.0)
    it.heartbeat()
    ended(it, said="ImportError: cannot import name 'x'", code=1)
    assert it.status == "backoff"


def test_a_helper_that_was_killed_long_ago_is_not_why_a_program_ends_well() -> None:
    it = VirtualInstance().running()
    it.feed(Exited(exit=process_exit(it.launch_id, code=0, oom_killed=True)))
    assert it.instance.last_exit is not None
    assert it.instance.last_exit.reason is ExitReason.COMPLETED
