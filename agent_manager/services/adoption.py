"""What a new manager makes of a slot it is handed: what happened while nobody listened, and what to do again."""

from __future__ import annotations

from agent_manager.domain import stop_ladder
from agent_manager.domain.instances import Instance, Launch
from agent_manager.domain.occurrences import Emptied, Exited, Occurrence, Started, StartFailed
from agent_manager.domain.steps import Action, Spawn
from agent_manager.ports.launcher import Slot, SlotState


def again(slot: Slot, instance: Instance) -> tuple[Action, ...]:
    """What its predecessor may not have got to: the present rung of the stop ladder, and the answer to a start."""
    launch = _present_launch(slot, instance)
    if launch is None or slot.state is not SlotState.LAUNCHING:
        return stop_ladder.resume(instance)
    # Whether the process will run is not decided yet. Repeating the request starts nothing and is told the outcome.
    return (Spawn(launch=launch, expected_launch_id=launch.launch_id),)


def missed(slot: Slot, instance: Instance) -> list[Occurrence]:
    """What happened to a slot while no manager listened, in order."""
    exits: list[Occurrence] = [Exited(exit=exit_) for exit_ in slot.exits]
    launch = _present_launch(slot, instance)
    if launch is None or slot.state is SlotState.LAUNCHING:
        return exits
    if slot.pid is None or slot.started_at is None:
        return [*exits, StartFailed(launch_id=launch.launch_id, message="it failed while the manager was away")]
    started = Started(launch_id=launch.launch_id, pid=slot.pid, started_at=slot.started_at)
    emptied = [Emptied(launch_id=launch.launch_id)] if slot.state is SlotState.EMPTY else []
    return [started, *exits, *emptied]


def _present_launch(slot: Slot, instance: Instance) -> Launch | None:
    launch = instance.launch
    return launch if launch is not None and launch.launch_id == slot.launch_id else None
