"""The supervisor: feeds occurrences to the state machine of each instance and carries out the actions it answers with.

Nothing here waits for one instance on behalf of another: what takes time (a start, a drain) is a task of its own, whose
outcome comes back as the next occurrence. Neither database nor bus is needed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace

from agent_manager.domain import supervision
from agent_manager.domain.clock import Now
from agent_manager.domain.errors import AgentManagerError
from agent_manager.domain.instances import Heartbeat, Instance, InstanceStatus, Target
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
from agent_manager.domain.planning import Aim
from agent_manager.domain.restart_budget import BudgetPolicy, RestartBudget
from agent_manager.domain.specification import AgentSpec
from agent_manager.domain.steps import Action, Context, CountRestart, Drain, RecordExit, Signal, Spawn
from agent_manager.ports.bus import AgentChannel
from agent_manager.ports.clock import Chance, Clock
from agent_manager.ports.identities import Identities, LaunchName
from agent_manager.ports.launcher import (
    LaunchEmptied,
    Launcher,
    LauncherError,
    LaunchExited,
    Slot,
    SlotState,
    SpawnFailedError,
)
from agent_manager.ports.observation import UNOBSERVED, Observer, Tracer
from agent_manager.services import adoption
from agent_manager.services.eyesight import Eyesight
from agent_manager.services.journal import Journal
from agent_manager.services.slot_notes import SlotNotes
from agent_manager.services.start_gate import Rank, StartGate

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Timer:
    """`due_at` is the clock's monotonic moment it was armed for."""

    due_at: float
    handle: asyncio.TimerHandle


class Supervisor:
    """Owns every instance of this node. Tasks run in the group it is given."""

    def __init__(
        self,
        *,
        launcher: Launcher,
        identities: Identities,
        channel: AgentChannel,
        journal: Journal,
        eyesight: Eyesight,
        clock: Clock,
        chance: Chance,
        tasks: asyncio.TaskGroup,
        gate: StartGate,
        budget: BudgetPolicy,
        observer: Observer = UNOBSERVED,
        tracer: Tracer = UNOBSERVED,
    ) -> None:
        self._launcher = launcher
        self._identities = identities
        self._channel = channel
        self._journal = journal
        self._eyesight = eyesight
        self._clock = clock
        self._chance = chance
        self._tasks = tasks
        self._gate = gate
        self._budget_policy = budget
        self._budget = RestartBudget()
        self._observer = observer
        self._tracer = tracer
        self._instances: dict[str, Instance] = {}
        self._notes = SlotNotes(launcher, self._instances.get)
        self._heartbeats: dict[str, Heartbeat] = {}
        self._heard: dict[str, Now] = {}
        self._timers: dict[str, _Timer] = {}
        self._clearing: set[str] = set()
        self._new_launch_id = chance.launch_id()
        self._in_a_hurry = False
        self._changed = asyncio.Event()
        self._on_change: list[Callable[[str], None]] = []
        journal.on_released(self._cleared)

    @property
    def instances(self) -> Mapping[str, Instance]:
        """Every instance by its id. In the event loop only."""
        for instance_id in list(self._heard):
            self._up_to_date(instance_id)
        return self._instances

    def instance(self, instance_id: str) -> Instance | None:
        """One instance; None where there is none of this id. In the event loop only."""
        return self._up_to_date(instance_id) if instance_id in self._instances else None

    @property
    def heartbeats(self) -> Mapping[str, Heartbeat]:
        """The last heartbeat of each instance that has a process."""
        return self._heartbeats

    def on_change(self, callback: Callable[[str], None]) -> None:
        """Call `callback` with the instance's id after every change of one; a mere heartbeat is none.

        Where `aim` or `retire` can do nothing yet, such a change says that it is time to look again.
        """
        self._on_change.append(callback)

    async def until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until `condition` holds, looking again after each change; False when the time is over first."""
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    await self._changed.wait()
        except TimeoutError:
            return condition()
        return True

    # ---------------------------------------------------------------- taking over

    def adopt(self, slots: tuple[Slot, ...]) -> None:
        """Take over what the launcher holds, in whatever state; nothing is restarted that should not be."""
        self._keep_only_credentials_of(slots)
        for slot in slots:
            if slot.instance is None:
                self._clear(slot)
            else:
                self._take_over(slot, slot.instance)
        if slots:
            log.info("instances_adopted", extra={"count": len(self._instances)})

    def _keep_only_credentials_of(self, slots: tuple[Slot, ...]) -> None:
        try:
            self._identities.keep_only(frozenset(slot.launch_id for slot in slots if slot.state is not SlotState.EMPTY))
        except OSError as error:
            log.error("credentials_not_destroyed", extra={"error": str(error)})

    def _take_over(self, slot: Slot, instance: Instance) -> None:
        self._instances[slot.instance_id] = instance
        self._carry_out(instance, adoption.again(slot, instance))
        for occurrence in adoption.missed(slot, instance):
            self._apply(slot.instance_id, occurrence)
        # What the predecessor still had to write died with it.
        self._journal.noted(self._instances[slot.instance_id])
        self._arm(slot.instance_id)

    def _clear(self, slot: Slot) -> None:
        """Nobody knows what runs there or how to supervise it; once it is gone its slot is released."""
        log.error("slot_cleared", extra={"instance_id": slot.instance_id, "launch_id": slot.launch_id})
        self._clearing.add(slot.instance_id)
        for exit_ in slot.exits:
            self._launcher.acknowledge(slot.instance_id, exit_.launch_id)
        if slot.state is SlotState.EMPTY:
            self._release(slot.instance_id)
        else:
            self._launcher.signal(slot.instance_id, slot.launch_id, "SIGKILL")

    def launcher_event(self, event: LaunchExited | LaunchEmptied) -> None:
        """Something the launcher has said."""
        if event.instance_id not in self._instances:
            self._clear_unknown(event)
        elif isinstance(event, LaunchExited):
            self._apply(event.instance_id, Exited(exit=event.exit))
        else:
            self._apply(event.instance_id, Emptied(launch_id=event.launch_id))

    def _clear_unknown(self, event: LaunchExited | LaunchEmptied) -> None:
        if isinstance(event, LaunchExited):
            self._launcher.acknowledge(event.instance_id, event.exit.launch_id)
        else:
            self._release(event.instance_id)

    def _release(self, instance_id: str) -> None:
        self._launcher.release(instance_id)
        self._cleared(instance_id)

    def _cleared(self, instance_id: str) -> None:
        self._clearing.discard(instance_id)
        self._notify(instance_id)

    # ---------------------------------------------------------------- what is wanted

    def expect(self, spec: AgentSpec) -> None:
        """Instances of this specification may be asked for."""
        self._launcher.expect(spec)

    def aim(self, aim: Aim) -> None:
        """Let an instance aim at a target; makes the instance where there is none.

        Nothing happens while the slot still holds what was there before: its release is a change after which whoever
        aims looks again.
        """
        instance = Instance(
            agent_id=aim.agent_id,
            ordinal=aim.ordinal,
            epoch=aim.epoch,
            target=Target(run=False, spec=aim.target.spec),
            since_wall=self._clock.now().wall,
        )
        if instance.id in self._clearing:
            return
        present = self._instances.setdefault(instance.id, instance)
        if present is instance:
            self._journal.noted(instance)
        self._apply(instance.id, TargetSet(target=aim.target))

    def retire(self, instance_id: str) -> None:
        """Stop an instance; once nothing of it is left, asking again forgets it."""
        instance = self._instances[instance_id]
        if instance.launch is None:
            del self._instances[instance_id]
            self._disarm(instance_id)
            self._clearing.add(instance_id)
            self._journal.retired(instance)
            self._notify(instance_id)
        elif instance.target.run:
            self._apply(
                instance_id, TargetSet(target=replace(instance.target, run=False, stop_reason="no longer desired"))
            )

    async def stop_all(self) -> None:
        """Stop every instance, each by its own ladder and all at once; returns when no process is left."""
        for instance_id, instance in list(self._instances.items()):
            self._apply(
                instance_id, TargetSet(target=replace(instance.target, run=False, stop_reason="the node goes down"))
            )
        if self._in_a_hurry:
            self.hurry()
        await self._until_no_process()

    def hurry(self) -> None:
        """No more patience with what is stopping, nor with what `stop_all` will stop."""
        self._in_a_hurry = True
        for instance_id in list(self._instances):
            self._apply(instance_id, Hurry())

    async def _until_no_process(self) -> None:
        while any(instance.launch is not None for instance in self._instances.values()):
            await self._changed.wait()

    # ---------------------------------------------------------------- what is heard

    def heartbeat(self, instance_id: str, launch_id: str, heartbeat: Heartbeat) -> None:
        """A launch of this node has spoken; one that is not the present launch of its slot says nothing that counts."""
        instance = self._instances.get(instance_id)
        if instance is None or instance.launch is None or instance.launch.launch_id != launch_id:
            log.debug("heartbeat_ignored", extra={"instance_id": instance_id, "launch_id": launch_id})
            return
        self._heartbeats[instance_id] = heartbeat
        self._eyesight.heard()
        ready = heartbeat.status != "starting"
        if supervision.is_news(instance, ready=ready):
            self._apply(instance_id, HeartbeatSeen(launch_id=launch_id, ready=ready))
        else:
            # Nearly every heartbeat is followed by another before anybody looks, and only the last one counts.
            self._heard[instance_id] = self._clock.now()

    def _up_to_date(self, instance_id: str) -> Instance:
        """The instance, with its last heartbeat."""
        instance = self._instances[instance_id]
        if (heard_at := self._heard.pop(instance_id, None)) is not None:
            instance = self._instances[instance_id] = instance.heard(heard_at)
        return instance

    def sight_changed(self) -> None:
        """Heartbeats can be received again, or not any more: silence is measured anew."""
        for instance_id in self._instances:
            self._disarm(instance_id)
            self._arm(instance_id)

    # ---------------------------------------------------------------- the machine

    def _apply(self, instance_id: str, occurrence: Occurrence) -> None:
        before = self._up_to_date(instance_id)
        step = supervision.advance(before, occurrence, self._context())
        after = step.instance
        self._instances[instance_id] = after
        has_changed = after != before
        if after.launch_id != before.launch_id:
            self._heartbeats.pop(instance_id, None)
        if after.launch_id == self._new_launch_id:
            self._new_launch_id = self._chance.launch_id()
        for action in step.actions:
            if isinstance(action, Spawn):
                self._notes.will_be_asked_for(action.launch.launch_id)
        if has_changed:
            self._notes.changed(after)
        self._carry_out(after, step.actions)
        self._mind_the_gate(before, after)
        if (after.status, after.reason) != (before.status, before.reason):
            self._journal.changed(after)
        self._arm(instance_id)
        if has_changed:
            self._observer.instance_changed(before, after)
            self._notify(instance_id)

    def _context(self) -> Context:
        now = self._clock.now()
        return Context(
            now=now,
            observing_since=self._eyesight.since,
            new_launch_id=self._new_launch_id,
            jitter=self._chance.jitter(),
            restart_wait_s=self._budget.wait_s(self._budget_policy, now.mono),
        )

    def _mind_the_gate(self, before: Instance, after: Instance) -> None:
        launch, earlier = after.launch, before.launch
        if launch is not None and launch.stopping is not None and self._notes.awaits(launch.launch_id):
            self._gate.withdraw(launch.launch_id)
        comes_up = after.status is InstanceStatus.STARTING and after.launch_id == before.launch_id
        if earlier is not None and not comes_up:
            self._gate.leave(earlier.launch_id)

    def _notify(self, instance_id: str) -> None:
        self._changed.set()
        self._changed.clear()
        for callback in self._on_change:
            callback(instance_id)

    def _arm(self, instance_id: str) -> None:
        """Wake when something is due. A timer that fires too early arms itself again: heartbeats only put it off."""
        due_at = supervision.wake_at(self._instances[instance_id], self._eyesight.since)
        armed = self._timers.get(instance_id)
        if armed is not None and due_at is not None and armed.due_at <= due_at:
            return
        self._disarm(instance_id)
        if due_at is not None:
            delay_s = max(0.0, due_at - self._clock.now().mono)
            handle = asyncio.get_running_loop().call_later(delay_s, self._due, instance_id)
            self._timers[instance_id] = _Timer(due_at, handle)

    def _disarm(self, instance_id: str) -> None:
        timer = self._timers.pop(instance_id, None)
        if timer is not None:
            timer.handle.cancel()

    def _due(self, instance_id: str) -> None:
        self._disarm(instance_id)
        # When this process itself was held up, heartbeats wait unread: nobody is silent yet.
        self._eyesight.check_pulse()
        self._apply(instance_id, TimerDue())

    # ---------------------------------------------------------------- actions

    def _carry_out(self, instance: Instance, actions: tuple[Action, ...]) -> None:
        for action in actions:
            match action:
                case Spawn():
                    self._start_task(self._spawn(instance.id, action), f"spawn {instance.id}")
                case CountRestart():
                    self._budget = self._budget.spend(self._budget_policy, self._clock.now().mono)
                case Drain():
                    self._start_task(self._drain(instance.id, action), f"drain {instance.id}")
                case Signal():
                    self._notes.tell()  # whoever takes over knows why it ends
                    self._launcher.signal(instance.id, action.launch_id, action.signal)
                case RecordExit():
                    self._destroy_credentials(action.exit.launch_id)
                    self._journal.exited(instance, action.exit)

    def _destroy_credentials(self, launch_id: str) -> None:
        try:
            self._identities.destroy(launch_id)
        except OSError as error:
            log.error("credentials_not_destroyed", extra={"launch_id": launch_id, "error": str(error)})

    def _start_task(self, coroutine: Coroutine[None, None, None], name: str) -> None:
        self._tasks.create_task(coroutine, name=name)

    async def _spawn(self, instance_id: str, spawn: Spawn) -> None:
        launch_id = spawn.launch.launch_id
        ran_before = self._instances[instance_id].history.streak > 0
        let_in = await self._gate.enter(launch_id, Rank.RESTART if ran_before else Rank.START)
        self._notes.is_asked_for(launch_id)
        instance = self._instances[instance_id]
        if not let_in:
            self._apply(instance_id, Withdrawn(launch_id=launch_id))
            return
        try:
            with self._tracer.span("spawn", {"instance_id": instance_id, "launch_id": launch_id}):
                name = LaunchName(instance.agent_id, instance_id, launch_id, spawn.launch.spec.run_as)
                credentials = self._identities.issue(name)
                pid, started_at = await self._launcher.spawn(instance, spawn.expected_launch_id, credentials)
        except (LauncherError, AgentManagerError, OSError, ValueError) as error:
            slot_taken = isinstance(error, SpawnFailedError)
            self._apply(instance_id, StartFailed(launch_id=launch_id, message=str(error), slot_taken=slot_taken))
        else:
            self._apply(instance_id, Started(launch_id=launch_id, pid=pid, started_at=started_at))

    async def _drain(self, instance_id: str, drain: Drain) -> None:
        try:
            # Named, so that it cannot reach a successor that has taken the place meanwhile.
            params = {"launch_id": drain.launch_id}
            await self._channel.ask(instance_id, "drain", params, timeout_s=drain.timeout_s)
        except AgentManagerError as error:
            log.debug("not_drained", extra={"instance_id": instance_id, "error": error.message})
        if instance_id in self._instances:
            self._apply(instance_id, Drained(launch_id=drain.launch_id))
