"""Supervision of one instance as a pure state machine: `advance(instance, occurrence, context) -> Step`.

An occurrence is something that happened (a target was set, a process started, a heartbeat came, a timer is due); a step
is the instance afterwards and the actions to carry out. Carrying them out, and reporting what came of it as the next
occurrence, is the supervisor's job.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from agent_manager.domain import restarts
from agent_manager.domain.clock import Now
from agent_manager.domain.exits import Exit, ExitReason, ProcessExit
from agent_manager.domain.instances import Instance, InstanceStatus, Launch, Stopping, StopStep, Target
from agent_manager.domain.specification import OnInactive, ReadinessMode

# ---------------------------------------------------------------- what can happen


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetSet:
    """The reconciler wants something (perhaps the same as before)."""

    target: Target


@dataclass(frozen=True, kw_only=True, slots=True)
class Started:
    """The launcher has started the process. `started_at` is Unix seconds."""

    launch_id: str
    pid: int
    started_at: float


@dataclass(frozen=True, kw_only=True, slots=True)
class StartFailed:
    """There is no process: the launcher could not start it, or its credentials could not be made.

    `slot_taken` is False where it did not come so far that the launcher's slot carries the launch.
    """

    launch_id: str
    message: str
    slot_taken: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class HeartbeatSeen:
    """The launch said it lives. `ready` is False while it says that it is still starting."""

    launch_id: str
    ready: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Drained:
    """The drain request came to an end: finished, refused, or nobody there to hear it."""

    launch_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Exited:
    """The main process has ended."""

    exit: ProcessExit


@dataclass(frozen=True, kw_only=True, slots=True)
class Emptied:
    """No process of the launch is left."""

    launch_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TimerDue:
    """A moment named by `wake_at` has come."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hurry:
    """No more patience: kill what is on its way down."""


Occurrence = TargetSet | Started | StartFailed | HeartbeatSeen | Drained | Exited | Emptied | TimerDue | Hurry

# ---------------------------------------------------------------- what is to be done


@dataclass(frozen=True, kw_only=True, slots=True)
class Spawn:
    """Start the launch; the launcher's slot must still carry `expected_launch_id`."""

    launch: Launch
    expected_launch_id: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Drain:
    """Ask the agent, over the bus, to finish what it does and take nothing new."""

    launch_id: str
    timeout_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Signal:
    """Send a signal, by name, to the whole tree."""

    launch_id: str
    signal: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordExit:
    """Keep the exit for ever; only then may the launcher forget it."""

    exit: Exit


Action = Spawn | Drain | Signal | RecordExit


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """What a decision may depend on besides the instance.

    `observing_since` is the monotonic moment since which heartbeats could have been received without interruption, None
    while they cannot: silence counts only inside it. `new_launch_id` and `jitter` (in [0, 1)) are fresh for every call.
    """

    now: Now
    observing_since: float | None
    new_launch_id: str
    jitter: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """The instance afterwards, and what to do."""

    instance: Instance
    actions: tuple[Action, ...] = ()


# ---------------------------------------------------------------- the machine


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
        case HeartbeatSeen():
            return _of_launch(
                instance, occurrence.launch_id, lambda launch: _alive(instance, launch, occurrence, context)
            )
        case Drained():
            return _of_launch(instance, occurrence.launch_id, lambda launch: _drained(instance, launch, context))
        case Exited():
            return _exited(instance, occurrence.exit, context)
        case Emptied():
            return _of_launch(instance, occurrence.launch_id, lambda launch: _emptied(instance, launch, context))
        case TimerDue():
            return _due(instance, context)
        case Hurry():
            return _hurried(instance, context)


def wake_at(instance: Instance, observing_since: float | None) -> float | None:
    """The monotonic moment at which `TimerDue` is due, None when only an occurrence can change anything."""
    launch = instance.launch
    if launch is None:
        return instance.start_at
    if launch.exit is not None:
        return None
    if launch.stopping is not None:
        return launch.stopping.next_at
    return _silence_deadline(instance, launch, observing_since)


def resume(instance: Instance) -> tuple[Action, ...]:
    """What a new manager does again for an instance it has taken over: the present rung of the stop ladder.

    Whether its predecessor got to carry it out is unknown; every rung may be repeated.
    """
    launch = instance.launch
    if launch is None or launch.exit is not None or launch.stopping is None:
        return ()
    return _rung(launch, launch.stopping.step)


def _of_launch(instance: Instance, launch_id: str, then: Callable[[Launch], Step]) -> Step:
    if instance.launch is None or instance.launch.launch_id != launch_id:
        return Step(instance=instance)
    return then(instance.launch)


def _report(instance: Instance, status: InstanceStatus, reason: str, context: Context) -> Instance:
    return replace(instance, status=status, reason=reason, since_wall=context.now.wall)


# ---------------------------------------------------------------- towards the target


def _aim(instance: Instance, context: Context, *, wanted_before: bool) -> Step:
    target = instance.target
    asked = target.start_serial > instance.acted_start_serial or not wanted_before
    instance = replace(instance, acted_start_serial=max(target.start_serial, instance.acted_start_serial))
    if not target.run:
        return _want_down(instance, context)
    launch = instance.launch
    if launch is None:
        # What ended by itself stays down until somebody asks, and then what went wrong before is forgiven.
        if asked:
            return _spawn(replace(instance, history=restarts.RestartHistory()), context, "start requested")
        return Step(instance=instance)
    if launch.restart_serial < target.restart_serial and launch.exit is None and launch.stopping is None:
        return _descend(instance, launch, ExitReason.REQUESTED, "restart requested", context)
    return Step(instance=instance)


def _want_down(instance: Instance, context: Context) -> Step:
    launch = instance.launch
    if launch is None:
        if instance.status is InstanceStatus.STOPPED and instance.start_at is None:
            return Step(instance=instance)
        return Step(
            instance=_report(replace(instance, start_at=None), InstanceStatus.STOPPED, "stop requested", context)
        )
    if launch.exit is not None or launch.stopping is not None:
        return Step(instance=instance)
    return _descend(instance, launch, ExitReason.REQUESTED, "stop requested", context)


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
        instance=_report(spawned, InstanceStatus.STARTING, reason, context),
        actions=(Spawn(launch=launch, expected_launch_id=instance.held),),
    )


# ---------------------------------------------------------------- a launch comes up


def _started(instance: Instance, launch: Launch, event: Started, context: Context) -> Step:
    if launch.pid is not None:
        return Step(instance=instance)
    launch = replace(launch, pid=event.pid, started_wall=event.started_at)
    instance = replace(instance, launch=launch)
    if launch.stopping is not None:
        # The stop was asked for before there was a process to signal.
        return Step(instance=instance, actions=_rung(launch, launch.stopping.step))
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
    after = _emptied(replace(instance, held=held), replace(launch, exit=exit_), context)
    return Step(instance=after.instance, actions=(RecordExit(exit=exit_), *after.actions))


def _alive(instance: Instance, launch: Launch, event: HeartbeatSeen, context: Context) -> Step:
    if launch.exit is not None:
        return Step(instance=instance)
    launch = replace(launch, heartbeat_at=context.now.mono, heartbeat_wall=context.now.wall)
    instance = replace(instance, launch=launch)
    if launch.stopping is not None:
        return Step(instance=instance)
    if instance.status is InstanceStatus.INACTIVE:
        return Step(instance=_report(instance, InstanceStatus.RUNNING, "heartbeats again", context))
    if launch.ready_at is None and event.ready:
        return _ready(instance, launch, context)
    return Step(instance=instance)


def _ready(instance: Instance, launch: Launch, context: Context) -> Step:
    instance = replace(instance, launch=replace(launch, ready_at=context.now.mono))
    return Step(instance=_report(instance, InstanceStatus.RUNNING, "ready", context))


# ---------------------------------------------------------------- time passes


def _due(instance: Instance, context: Context) -> Step:
    due_at = wake_at(instance, context.observing_since)
    if due_at is None or context.now.mono < due_at:
        return Step(instance=instance)
    launch = instance.launch
    if launch is None:
        return _spawn(replace(instance, restarts=instance.restarts + 1), context, "restarted")
    if launch.stopping is not None:
        return _next_rung(instance, launch, launch.stopping, context)
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
        return _descend(instance, launch, ExitReason.START_TIMEOUT, message, context)
    heartbeat = launch.spec.heartbeat
    silent_for = f"no heartbeat for {heartbeat.timeout_s:g} s" if heartbeat is not None else "no heartbeat"
    if instance.status is not InstanceStatus.INACTIVE:
        return Step(instance=_report(instance, InstanceStatus.INACTIVE, silent_for, context))
    return _descend(instance, launch, ExitReason.WATCHDOG, f"{silent_for}, and still none", context)


# ---------------------------------------------------------------- down the ladder


def _descend(instance: Instance, launch: Launch, cause: ExitReason, message: str, context: Context) -> Step:
    if cause is ExitReason.WATCHDOG:
        # It hears nothing: asking politely only takes time.
        step = StopStep.KILL
    elif cause is ExitReason.REQUESTED and launch.spec.heartbeat is not None and launch.ready_at is not None:
        step = StopStep.DRAIN
    else:
        step = StopStep.TERMINATE
    return _stand_on(instance, launch, step, cause, message, context)


def _stand_on(
    instance: Instance, launch: Launch, step: StopStep, cause: ExitReason, message: str, context: Context
) -> Step:
    stop = launch.spec.stop
    patience_s = stop.drain_timeout_s if step is StopStep.DRAIN else stop.timeout_s
    # A SIGKILL that has not worked yet is repeated, but never in a tight loop.
    patience_s = max(patience_s, 1.0) if step is StopStep.KILL else patience_s
    stopping = Stopping(cause=cause, message=message, step=step, next_at=context.now.mono + patience_s)
    launch = replace(launch, stopping=stopping)
    instance = replace(instance, launch=launch)
    if instance.status is not InstanceStatus.STOPPING:
        instance = _report(instance, InstanceStatus.STOPPING, message, context)
    return Step(instance=instance, actions=_rung(launch, step))


def _rung(launch: Launch, step: StopStep) -> tuple[Action, ...]:
    if launch.pid is None:
        return ()
    match step:
        case StopStep.DRAIN:
            return (Drain(launch_id=launch.launch_id, timeout_s=launch.spec.stop.drain_timeout_s),)
        case StopStep.TERMINATE:
            return (Signal(launch_id=launch.launch_id, signal=launch.spec.stop.signal),)
        case StopStep.KILL:
            return (Signal(launch_id=launch.launch_id, signal="SIGKILL"),)


_NEXT_RUNG = {
    StopStep.DRAIN: StopStep.TERMINATE,
    StopStep.TERMINATE: StopStep.KILL,
    StopStep.KILL: StopStep.KILL,
}


def _next_rung(instance: Instance, launch: Launch, stopping: Stopping, context: Context) -> Step:
    return _stand_on(instance, launch, _NEXT_RUNG[stopping.step], stopping.cause, stopping.message, context)


def _drained(instance: Instance, launch: Launch, context: Context) -> Step:
    if launch.exit is not None or launch.stopping is None or launch.stopping.step is not StopStep.DRAIN:
        return Step(instance=instance)
    return _next_rung(instance, launch, launch.stopping, context)


def _hurried(instance: Instance, context: Context) -> Step:
    launch = instance.launch
    if launch is None or launch.exit is not None or launch.stopping is None:
        return Step(instance=instance)
    return _stand_on(instance, launch, StopStep.KILL, launch.stopping.cause, launch.stopping.message, context)


# ---------------------------------------------------------------- the end of a launch


def _exited(instance: Instance, ended: ProcessExit, context: Context) -> Step:
    launch = instance.launch
    if launch is None or launch.launch_id != ended.launch_id:
        # An exit of an earlier launch that was never acknowledged: kept, but it decides nothing.
        last = instance.last_exit
        known = last if last is not None and last.launch_id == ended.launch_id else None
        return Step(instance=instance, actions=(RecordExit(exit=known or _as_record(ended, None)),))
    if launch.exit is not None:
        return Step(instance=instance, actions=(RecordExit(exit=launch.exit),))
    exit_ = _as_record(ended, launch)
    instance = replace(instance, launch=replace(launch, exit=exit_), last_exit=exit_)
    return Step(instance=instance, actions=(RecordExit(exit=exit_),))


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
    )


def _why(ended: ProcessExit, launch: Launch | None) -> tuple[ExitReason, str]:
    how = f"killed by signal {ended.signal}" if ended.signal is not None else f"exited with code {ended.code}"
    if launch is not None and launch.stopping is not None:
        return launch.stopping.cause, f"{launch.stopping.message}; {how}"
    return (ExitReason.COMPLETED if ended.code == 0 else ExitReason.CRASH), how


def _emptied(instance: Instance, launch: Launch, context: Context) -> Step:
    if launch.exit is None:
        return Step(instance=instance)
    instance = replace(instance, launch=None, last_exit=launch.exit)
    exit_, target = launch.exit, instance.target
    if not target.run:
        return Step(instance=_report(instance, InstanceStatus.STOPPED, exit_.message, context))
    if exit_.reason is ExitReason.REQUESTED:
        return _spawn(replace(instance, history=restarts.RestartHistory()), context, "restart requested")
    healthy_s = context.now.mono - launch.ready_at if launch.ready_at is not None else 0.0
    decision = restarts.decide(
        target.spec.restart, instance.history, exit_, healthy_s=healthy_s, now=context.now.mono, jitter=context.jitter
    )
    match decision:
        case restarts.Restart(delay_s=0.0):
            again = replace(instance, history=decision.history, restarts=instance.restarts + 1)
            return _spawn(again, context, decision.reason)
        case restarts.Restart():
            waiting = replace(instance, history=decision.history, start_at=decision.at)
            return Step(instance=_report(waiting, InstanceStatus.BACKOFF, decision.reason, context))
        case restarts.StayStopped():
            return Step(instance=_report(instance, InstanceStatus.STOPPED, decision.reason, context))
        case restarts.GiveUp():
            return Step(instance=_report(instance, InstanceStatus.ERROR, decision.reason, context))
