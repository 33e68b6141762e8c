"""Supervision of one instance as a pure state machine: `advance(instance, occurrence, context) -> Step`.

An occurrence is something that happened (a target was set, a process started, a heartbeat came, a timer is due); a step
is the instance afterwards and the actions to carry out. Carrying them out, and reporting what came of it as the next
occurrence, is the supervisor's job.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace

from agent_manager.domain import restarts, stop_ladder
from agent_manager.domain.exits import Exit, ExitReason, ProcessExit
from agent_manager.domain.instances import Instance, InstanceStatus, Launch
from agent_manager.domain.occurrences import (
    Drained,
    Emptied,
    Exited,
    HeartbeatSeen,
    Hurry,
    Occurrence,
    Started,
    StartFailed,
    TargetSet,
    TimerDue,
    Withdrawn,
)
from agent_manager.domain.specification import OnInactive, ReadinessMode, ResourceLimits
from agent_manager.domain.steps import Context, CountRestart, RecordExit, Spawn, Step


def advance(instance: Instance, occurrence: Occurrence, context: Context) -> Step:
    """The one way an instance changes. What concerns a launch that is no longer the present one changes nothing."""
    match occurrence:
        case TargetSet(target=target):
            return _aim(replace(instance, target=target), context, wanted_before=instance.target.run)
        case Started():
            return _of_launch(
                instance, occurrence.launch_id, lambda launch: _started(instance, launch, occurrence, context)
            )
        case StartFailed():
            return _of_launch(
                instance, occurrence.launch_id, lambda launch: _start_failed(instance, launch, occurrence, context)
            )
        case Withdrawn():
            return _of_launch(instance, occurrence.launch_id, lambda launch: _withdrawn(instance, launch, context))
        case HeartbeatSeen():
            return _of_launch(instance, occurrence.launch_id, lambda _: _alive(instance, occurrence, context))
        case Drained():
            return _of_launch(
                instance, occurrence.launch_id, lambda launch: stop_ladder.drained(instance, launch, context)
            )
        case Exited():
            return _exited(instance, occurrence.exit, context)
        case Emptied():
            return _of_launch(instance, occurrence.launch_id, lambda launch: _emptied(instance, launch, context))
        case TimerDue():
            return _due(instance, context)
        case Hurry():
            return stop_ladder.hurried(instance, context)


def wake_at(instance: Instance, observing_since: float | None) -> float | None:
    """The monotonic moment at which `TimerDue` is due, None when only an occurrence can change anything."""
    launch = instance.launch
    if launch is None:
        return instance.start_at
    if launch.ended:
        return None
    if launch.pid is None:
        # It waits for its turn, or the launcher is starting it: who starts it tells how that ends.
        return None
    if launch.stopping is not None:
        return launch.stopping.next_at
    return _silence_deadline(instance, launch, observing_since)


def _of_launch(instance: Instance, launch_id: str, then: Callable[[Launch], Step]) -> Step:
    if instance.launch is None or instance.launch.launch_id != launch_id:
        return Step(instance=instance)
    return then(instance.launch)


# ---------------------------------------------------------------- towards the target


def _aim(instance: Instance, context: Context, *, wanted_before: bool) -> Step:
    target, launch = instance.target, instance.launch
    if not target.run:
        return _want_down(_acted(instance), context)
    if launch is None:
        # What ended by itself stays down until somebody asks.
        if _asked(instance) or not wanted_before:
            return _spawn_anew(instance, context, "start requested")
        return Step(instance=instance)
    if launch.ended or launch.stopping is not None:
        # What was asked for is remembered until this launch is gone.
        return Step(instance=instance)
    if launch.restart_serial < target.restart_serial:
        return stop_ladder.descend(_acted(instance), launch, ExitReason.REQUESTED, _why_anew(instance, launch), context)
    return Step(instance=_acted(instance))


def _why_anew(instance: Instance, launch: Launch) -> str:
    changed = launch.spec.is_other_version(instance.target.spec)
    return "its package has changed" if changed else "restart requested"


def _asked(instance: Instance) -> bool:
    return instance.target.start_serial > instance.acted_start_serial


def _acted(instance: Instance) -> Instance:
    return replace(instance, acted_start_serial=instance.target.start_serial)


def _want_down(instance: Instance, context: Context) -> Step:
    launch = instance.launch
    if launch is None:
        if instance.status is InstanceStatus.STOPPED and instance.start_at is None:
            return Step(instance=instance)
        return Step(
            instance=replace(instance, start_at=None).reported(
                InstanceStatus.STOPPED, instance.target.stop_reason, context.now
            )
        )
    if launch.ended or launch.stopping is not None:
        return Step(instance=instance)
    return stop_ladder.descend(instance, launch, ExitReason.REQUESTED, instance.target.stop_reason, context)


def _spawn_anew(instance: Instance, context: Context, reason: str) -> Step:
    """Somebody asked: what went wrong before is forgiven."""
    return _spawn(replace(_acted(instance), history=restarts.RestartHistory()), context, reason)


def _spawn(instance: Instance, context: Context, reason: str) -> Step:
    launch = Launch(
        launch_id=context.new_launch_id,
        incarnation=instance.incarnation + 1,
        restart_serial=instance.target.restart_serial,
        spec=instance.target.spec,
        asked_at=context.now.mono,
        replaces=instance.held,
    )
    spawned = replace(instance, launch=launch, held=launch.launch_id, start_at=None, incarnation=launch.incarnation)
    return Step(
        instance=spawned.reported(InstanceStatus.STARTING, reason, context.now),
        actions=(Spawn(launch=launch, expected_launch_id=instance.held),),
    )


# ---------------------------------------------------------------- a launch comes up


def _started(instance: Instance, launch: Launch, event: Started, context: Context) -> Step:
    if launch.pid is not None:
        return Step(instance=instance)
    launch = replace(launch, pid=event.pid, started_wall=event.started_at, asked_at=context.now.mono)
    instance = replace(instance, launch=launch)
    if launch.ended:
        # It was over before its start was told.
        return Step(instance=instance)
    if launch.stopping is not None:
        # The stop was asked for before there was a process to signal.
        return Step(instance=instance, actions=stop_ladder.rung(launch, launch.stopping.step))
    if launch.spec.readiness.mode is ReadinessMode.IMMEDIATE:
        return _ready(instance, launch, context)
    return Step(instance=instance)


def _start_failed(instance: Instance, launch: Launch, event: StartFailed, context: Context) -> Step:
    exit_ = Exit(
        launch_id=launch.launch_id,
        incarnation=launch.incarnation,
        reason=ExitReason.START_FAILED,
        message=f"could not be started: {event.message}",
        at=context.now.wall,
    )
    held = launch.launch_id if event.slot_taken else launch.replaces
    after = _emptied(replace(instance, held=held, last_exit=exit_), replace(launch, ended=True), context)
    return Step(instance=after.instance, actions=(RecordExit(exit=exit_), *after.actions))


def _withdrawn(instance: Instance, launch: Launch, context: Context) -> Step:
    instance = replace(instance, launch=None, held=launch.replaces)
    if instance.target.run:
        return _spawn_anew(instance, context, "start requested")
    return Step(instance=instance.reported(InstanceStatus.STOPPED, instance.target.stop_reason, context.now))


def is_news(instance: Instance, *, ready: bool) -> bool:
    """Whether a heartbeat of the present launch changes more than when it was last heard.

    One that does not need not come to `advance`: `Instance.heard` is all there is to it.
    """
    launch = instance.launch
    if launch is None or launch.ended or launch.stopping is not None:
        return False
    return instance.status is InstanceStatus.INACTIVE or (ready and launch.ready_at is None)


def _alive(instance: Instance, event: HeartbeatSeen, context: Context) -> Step:
    heard = instance.heard(context.now)
    if heard.launch is None or not is_news(heard, ready=event.ready):
        return Step(instance=heard)
    if heard.status is InstanceStatus.INACTIVE:
        return Step(instance=heard.reported(InstanceStatus.RUNNING, "heartbeats again", context.now))
    return _ready(heard, heard.launch, context)


def _ready(instance: Instance, launch: Launch, context: Context) -> Step:
    instance = replace(instance, launch=replace(launch, ready_at=context.now.mono))
    return Step(instance=instance.reported(InstanceStatus.RUNNING, "ready", context.now))


# ---------------------------------------------------------------- time passes


def _due(instance: Instance, context: Context) -> Step:
    due_at = wake_at(instance, context.observing_since)
    if due_at is None or context.now.mono < due_at:
        return Step(instance=instance)
    launch = instance.launch
    if launch is None:
        return _spawn(replace(instance, restarts=instance.restarts + 1), context, "restarted")
    if launch.stopping is not None:
        return stop_ladder.next_rung(instance, launch, launch.stopping, context)
    return _silent(instance, launch, context)


def _silence_deadline(instance: Instance, launch: Launch, observing_since: float | None) -> float | None:
    if launch.ready_at is None:
        readiness = launch.spec.readiness
        if readiness.mode is ReadinessMode.IMMEDIATE:
            return launch.asked_at + readiness.timeout_s
        return None if observing_since is None else max(launch.asked_at, observing_since) + readiness.timeout_s
    heartbeat = launch.spec.heartbeat
    if heartbeat is None or observing_since is None:
        return None
    last = launch.heartbeat_at if launch.heartbeat_at is not None else launch.ready_at
    inactive_at = max(last, observing_since) + heartbeat.timeout_s
    if instance.status is not InstanceStatus.INACTIVE:
        return inactive_at
    return inactive_at + heartbeat.interval_s if heartbeat.on_inactive is OnInactive.RESTART else None


def _silent(instance: Instance, launch: Launch, context: Context) -> Step:
    if launch.ready_at is None:
        timeout_s = launch.spec.readiness.timeout_s
        message = f"not ready within {timeout_s:g} s of its start"
        if launch.heartbeat_at is None:
            message += ": no heartbeat came (the manifest of an agent that sends none has `heartbeat: none`)"
        return stop_ladder.descend(instance, launch, ExitReason.START_TIMEOUT, message, context)
    heartbeat = launch.spec.heartbeat
    silent_for = f"no heartbeat for {heartbeat.timeout_s:g} s" if heartbeat is not None else "no heartbeat"
    if instance.status is not InstanceStatus.INACTIVE:
        return Step(instance=instance.reported(InstanceStatus.INACTIVE, silent_for, context.now))
    return stop_ladder.descend(instance, launch, ExitReason.WATCHDOG, f"{silent_for}, and still none", context)


# ---------------------------------------------------------------- the end of a launch


def _exited(instance: Instance, ended: ProcessExit, context: Context) -> Step:
    launch = instance.launch if instance.launch is not None and instance.launch.launch_id == ended.launch_id else None
    known = instance.last_exit if instance.last_exit and instance.last_exit.launch_id == ended.launch_id else None
    if known is not None:
        # Said again: to a new manager, or because its output is saved by now.
        exit_ = replace(known, last_lines=known.last_lines or ended.last_lines)
    else:
        exit_ = _as_record(ended, launch)
    record = (RecordExit(exit=exit_),)
    if launch is not None:
        return Step(instance=replace(instance, launch=replace(launch, ended=True), last_exit=exit_), actions=record)
    if known is not None:
        instance = replace(instance, last_exit=exit_)
        if instance.status is InstanceStatus.BACKOFF and exit_.early and exit_.fault is not None:
            instance = _given_up(instance, exit_, exit_.fault, context)
        return Step(instance=instance, actions=record)
    # An exit of an earlier launch that was never acknowledged: kept, but it decides nothing.
    return Step(instance=instance, actions=record)


def _given_up(instance: Instance, exit_: Exit, fault: str, context: Context) -> Instance:
    reason = f"{exit_.message}; {fault}; no restart mends that: given up"
    return replace(instance, start_at=None).reported(InstanceStatus.ERROR, reason, context.now)


def _as_record(ended: ProcessExit, launch: Launch | None) -> Exit:
    reason, message = _why(ended, launch)
    return Exit(
        launch_id=ended.launch_id,
        incarnation=launch.incarnation if launch is not None else 0,
        reason=reason,
        message=message,
        at=ended.ended_at,
        code=ended.code,
        signal=ended.signal,
        core_dumped=ended.core_dumped,
        pid=ended.pid,
        started_at=ended.started_at,
        max_rss_kb=ended.max_rss_kb,
        user_s=ended.user_s,
        system_s=ended.system_s,
        last_lines=ended.last_lines,
    )


def _why(ended: ProcessExit, launch: Launch | None) -> tuple[ExitReason, str]:
    how = f"killed by signal {ended.signal}" if ended.signal is not None else f"exited with code {ended.code}"
    if launch is not None and launch.stopping is not None:
        return launch.stopping.cause, f"{launch.stopping.message}; {how}"
    limits = launch.spec.limits if launch is not None else ResourceLimits()
    # A helper that was killed long ago is not why its main process ends well.
    if ended.oom_killed and ended.code != 0:
        bound = f"limits.memory_mb is {limits.memory_mb}" if limits.memory_mb is not None else "the machine has no more"
        return ExitReason.OOM, f"killed for want of memory ({bound}); {how}"
    if ended.signal == signal.SIGXCPU and limits.cpu_seconds is not None:
        return ExitReason.CRASH, f"it has used up limits.cpu_seconds ({limits.cpu_seconds}); {how}"
    return (ExitReason.COMPLETED if ended.code == 0 else ExitReason.CRASH), how


def _unseen_exit(launch: Launch, context: Context) -> Exit:
    """An exit that an earlier manager recorded, but did not get to note with the slot."""
    stopping = launch.stopping
    return Exit(
        launch_id=launch.launch_id,
        incarnation=launch.incarnation,
        reason=stopping.cause if stopping is not None else ExitReason.CRASH,
        message="it ended while no manager looked; its exit is on record",
        at=context.now.wall,
        pid=launch.pid,
        started_at=launch.started_wall,
    )


def _emptied(instance: Instance, launch: Launch, context: Context) -> Step:
    target = instance.target
    exit_ = (instance.last_exit if launch.ended else None) or _unseen_exit(launch, context)
    instance = replace(instance, launch=None, last_exit=exit_)
    if not target.run:
        return Step(instance=instance.reported(InstanceStatus.STOPPED, exit_.message, context.now))
    if exit_.reason is ExitReason.REQUESTED or _asked(instance):
        return _spawn_anew(instance, context, _why_anew(instance, launch))
    healthy_s = context.now.mono - launch.ready_at if launch.ready_at is not None else 0.0
    exit_ = replace(exit_, early=healthy_s < launch.spec.readiness.timeout_s)
    instance = replace(instance, last_exit=exit_)
    if exit_.early and exit_.fault is not None:
        return Step(instance=_given_up(instance, exit_, exit_.fault, context))
    decision = restarts.decide(
        target.spec.restart,
        instance.history,
        exit_,
        healthy_s=healthy_s,
        now=context.now.mono,
        jitter=context.jitter,
        node_wait_s=context.restart_wait_s,
        # What it said at last comes a moment later, and may tell that a restart is no use.
        at_once=launch.ready_at is not None or exit_.reason is not ExitReason.CRASH or not exit_.code,
    )
    match decision:
        case restarts.Restart(delay_s=0.0):
            again = replace(instance, history=decision.history, restarts=instance.restarts + 1)
            spawned = _spawn(again, context, decision.reason)
            return Step(instance=spawned.instance, actions=(CountRestart(), *spawned.actions))
        case restarts.Restart():
            waiting = replace(instance, history=decision.history, start_at=decision.at)
            waiting = waiting.reported(InstanceStatus.BACKOFF, decision.reason, context.now)
            return Step(instance=waiting, actions=(CountRestart(),))
        case restarts.StayStopped():
            return Step(instance=instance.reported(InstanceStatus.STOPPED, decision.reason, context.now))
        case restarts.GiveUp():
            return Step(instance=instance.reported(InstanceStatus.ERROR, decision.reason, context.now))
