"""The stop ladder: drain, then the stop signal, then SIGKILL, each after the patience with the one before is over."""

from __future__ import annotations

from dataclasses import replace

from agent_manager.domain.exits import ExitReason
from agent_manager.domain.instances import Instance, InstanceStatus, Launch, Stopping, StopStep
from agent_manager.domain.steps import Action, Context, Drain, Signal, Step

ABORT_S = 2.0
"""How long a process that hangs may take to tell where."""

_NEXT_RUNG = {
    StopStep.DRAIN: StopStep.TERMINATE,
    StopStep.ABORT: StopStep.KILL,
    StopStep.TERMINATE: StopStep.KILL,
    StopStep.KILL: StopStep.KILL,
}


def descend(instance: Instance, launch: Launch, cause: ExitReason, message: str, context: Context) -> Step:
    """Begin to stop a launch, on the rung that fits the cause."""
    if cause is ExitReason.WATCHDOG:
        # It hears nothing: asking politely only takes time. A Python program leaves the stacks of its threads.
        step = StopStep.ABORT if launch.spec.entrypoint is not None else StopStep.KILL
    elif cause is ExitReason.REQUESTED and launch.spec.heartbeat is not None and launch.ready_at is not None:
        step = StopStep.DRAIN
    else:
        step = StopStep.TERMINATE
    return _stand_on(instance, launch, step, cause, message, context)


def _stand_on(
    instance: Instance, launch: Launch, step: StopStep, cause: ExitReason, message: str, context: Context
) -> Step:
    stop = launch.spec.stop
    match step:
        case StopStep.DRAIN:
            patience_s = stop.drain_timeout_s
        case StopStep.ABORT:
            patience_s = ABORT_S
        case StopStep.TERMINATE:
            patience_s = stop.timeout_s
        case StopStep.KILL:
            # One that has not worked yet is repeated, but never in a tight loop.
            patience_s = max(stop.timeout_s, 1.0)
    stopping = Stopping(cause=cause, message=message, step=step, next_at=context.now.mono + patience_s)
    launch = replace(launch, stopping=stopping)
    instance = replace(instance, launch=launch)
    if instance.status is not InstanceStatus.STOPPING:
        instance = instance.reported(InstanceStatus.STOPPING, message, context.now)
    return Step(instance=instance, actions=rung(launch, step))


def rung(launch: Launch, step: StopStep) -> tuple[Action, ...]:
    """What is done on a rung; nothing while there is no process yet."""
    if launch.pid is None:
        return ()
    match step:
        case StopStep.DRAIN:
            return (Drain(launch_id=launch.launch_id, timeout_s=launch.spec.stop.drain_timeout_s),)
        case StopStep.ABORT:
            return (Signal(launch_id=launch.launch_id, signal="SIGABRT"),)
        case StopStep.TERMINATE:
            return (Signal(launch_id=launch.launch_id, signal=launch.spec.stop.signal),)
        case StopStep.KILL:
            return (Signal(launch_id=launch.launch_id, signal="SIGKILL"),)


def next_rung(instance: Instance, launch: Launch, stopping: Stopping, context: Context) -> Step:
    """The patience with the present rung is over."""
    return _stand_on(instance, launch, _NEXT_RUNG[stopping.step], stopping.cause, stopping.message, context)


def drained(instance: Instance, launch: Launch, context: Context) -> Step:
    """The drain request came to an end."""
    if launch.ended or launch.stopping is None or launch.stopping.step is not StopStep.DRAIN:
        return Step(instance=instance)
    return next_rung(instance, launch, launch.stopping, context)


def hurried(instance: Instance, context: Context) -> Step:
    """Straight to the last rung, for what is on the ladder already."""
    launch = instance.launch
    if launch is None or launch.ended or launch.stopping is None:
        return Step(instance=instance)
    return _stand_on(instance, launch, StopStep.KILL, launch.stopping.cause, launch.stopping.message, context)


def resume(instance: Instance) -> tuple[Action, ...]:
    """What a new manager does again for an instance it has taken over: the present rung of the stop ladder.

    Whether its predecessor got to carry it out is unknown; every rung may be repeated.
    """
    launch = instance.launch
    if launch is None or launch.ended or launch.stopping is None:
        return ()
    return rung(launch, launch.stopping.step)
