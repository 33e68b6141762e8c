"""The instances: starting them in slots, and following each launch until its tree is empty and its output saved."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from agent_manager.launcher.becoming import LAUNCH_ID_VARIABLE, Program
from agent_manager.launcher.cgroups import Cgroup, Cgroups
from agent_manager.launcher.children import Children
from agent_manager.launcher.deadlines import Deadlines
from agent_manager.launcher.event_loop import EventLoop
from agent_manager.launcher.exits import Exit, ExitRecord
from agent_manager.launcher.fields import Fields, name, naturals, truth
from agent_manager.launcher.process_tree import ProcessTrees
from agent_manager.launcher.pump_client import PumpClient
from agent_manager.launcher.requests import Signal, Spawn, Update
from agent_manager.launcher.run_tag import RunTag
from agent_manager.launcher.slots import RequestError, Slot, SlotState, SlotTable
from agent_manager.launcher.spawning import SpawnFailure
from agent_manager.launcher.zygote_client import ForkRequest
from agent_manager.launcher.zygotes import Warmth, Zygotes

_LOOK_AGAIN_S = 0.02
_STREAMS = ("out", "err")

Result = dict[str, Any]
Answer = Callable[[Result | RequestError], None]


@dataclass(slots=True)
class _Launch:
    """A launch whose tree is not empty, or whose output is not saved yet."""

    slot: Slot
    answers: list[Answer]
    cgroup: Cgroup | None = None
    streams: list[int] = field(default_factory=list)
    saving: bool = False
    last_lines: dict[str, list[str]] = field(default_factory=dict)
    failure: SpawnFailure | None = None
    empty: bool = False


class Instances:
    """Carries out what the manager asks for, and tells what becomes of it."""

    def __init__(
        self,
        *,
        loop: EventLoop,
        children: Children,
        trees: ProcessTrees,
        pump: PumpClient,
        zygotes: Zygotes,
        cgroups: Cgroups | None,
        tag: RunTag,
    ) -> None:
        self._loop = loop
        self._children = children
        self._pump = pump
        self._zygotes = zygotes
        self._cgroups = cgroups
        self._tag = tag
        self._emit: Callable[[dict[str, Any]], None] = lambda event: None
        self._trees = trees
        self._deadlines = Deadlines(loop, self._kill)
        self._slots = SlotTable()
        self._launches: dict[str, _Launch] = {}
        self._dying: set[str] = set()
        self._look_due = False
        self._starts_no_more = False
        self._on_all_empty: Callable[[], None] | None = None
        self._on_none_starts: Callable[[], None] | None = None
        children.on_orphan_reaped(lambda _pid: self._look())
        loop.after_events(self._finish_dying)

    def on_event(self, listener: Callable[[dict[str, Any]], None]) -> None:
        """Tell the listener what becomes of the instances: `exited`, `drained`, `empty`."""
        self._emit = listener

    def describe(self) -> list[dict[str, Any]]:
        """Every slot, as in `hello`."""
        return [slot.to_json() for slot in self._slots]

    def spawn(self, request: Spawn, answer: Answer) -> None:
        """Start a launch, unless it is the slot's present one already. Raises RequestError."""
        slot = self._slots.get(request.slot)
        if slot is not None and slot.launch_id == request.launch_id:
            self._answer_again(slot, answer)
            return
        if request.launch_id in self._launches:
            raise RequestError("conflict", f"launch {request.launch_id!r} belongs to another slot")
        slot = self._slots.begin(
            request.slot, request.launch_id, expected=request.expected_launch_id, started_at=time.time()
        )
        slot.metadata = request.metadata
        slot.not_after = request.not_after
        launch = self._launches[slot.launch_id] = _Launch(slot, [answer])
        self._start(request, launch)

    def update(self, request: Update) -> None:
        """Change what a slot carries. Raises RequestError."""
        slot = self._slots.of_launch(request.slot, request.launch_id)
        for key, value in request.changes.items():
            setattr(slot, key, value)
        if slot.main_lives:
            self._deadlines.set(slot.launch_id, slot.not_after)

    def signal(self, request: Signal) -> None:
        """Signal a launch. Raises RequestError."""
        slot = self._slots.of_launch(request.slot, request.launch_id)
        if slot.pid is None or not slot.main_lives:
            raise RequestError("not_running", f"slot {slot.name!r}: launch {slot.launch_id!r} is {slot.state}")
        if request.whole_tree:
            self._trees.signal(slot.launch_id, request.signal)
        else:
            self._children.signal(slot.pid, request.signal)

    def acknowledge(self, slot_name: str, launch_id: str) -> None:
        """Forget an exit; unknown ones are forgotten already."""
        slot = self._slots.get(slot_name)
        if slot is not None:
            slot.acknowledge(launch_id)

    def release(self, slot_name: str) -> None:
        """Forget a slot. Raises RequestError."""
        self._slots.release(slot_name)

    def expect(self, zygote: Warmth) -> None:
        """Launches of this zygote may be asked for."""
        self._zygotes.expect(zygote)

    def signal_all(self, number: int) -> None:
        """Signal the trees of all launches whose main process lives; the others are being killed already."""
        for slot in self._slots:
            if slot.main_lives:
                self._trees.signal(slot.launch_id, number)

    def when_none_starts(self, callback: Callable[[], None]) -> None:
        """Have nothing forked any more, and call back, once, when of every launch it is known whether it runs."""
        self._zygotes.end()
        self._on_none_starts = callback
        self._tell_if_none_starts()

    def start_again(self) -> None:
        """Fork again."""
        self._zygotes.resume()

    def export(self) -> dict[str, Any]:
        """What `restore` takes. No launch may be starting."""
        return {
            "slots": [slot.export() for slot in self._slots],
            "launches": [
                {
                    "launch_id": launch.slot.launch_id,
                    "slot": launch.slot.name,
                    "cgroup": launch.cgroup.export() if launch.cgroup is not None else None,
                    "streams": launch.streams,
                    "saving": launch.saving,
                    "empty": launch.empty,
                }
                for launch in self._launches.values()
            ],
        }

    def restore(self, fields: Fields) -> None:
        """Take over the instances of an earlier launcher. Raises FieldError."""
        for each in fields.objects("slots"):
            self._slots.restore(Slot.restore(each))
        for each in fields.objects("launches"):
            self._restore_launch(each)

    def _restore_launch(self, fields: Fields) -> None:
        slot_name, launch_id = fields.get("slot", name), fields.get("launch_id", name)
        slot = present = self._slots.get(slot_name)
        if slot is None or slot.launch_id != launch_id:
            # Its output is still being saved; the slot is another launch's by now, or given up.
            slot = Slot(name=slot_name, launch_id=launch_id, started_at=0.0, state=SlotState.EMPTY)
        launch = self._launches[launch_id] = _Launch(
            slot,
            [],
            cgroup=Cgroup.restore(fields.object("cgroup")) if fields.has("cgroup") else None,
            streams=list(fields.get("streams", naturals)),
            empty=fields.get("empty", truth),
        )
        if slot.pid is not None and not launch.empty:
            self._trees.add(slot.launch_id, slot.pid, launch.cgroup)
        if slot.main_lives and slot.pid is not None:
            self._deadlines.set(slot.launch_id, slot.not_after)
            self._children.adopt(
                slot.pid, None, on_started=partial(self._on_started, launch), on_exit=partial(self._on_exit, launch)
            )
        elif not launch.empty:
            self._dying.add(slot.launch_id)
            self._look()
        if fields.get("saving", truth):
            self._save(launch, present.exit_of(launch_id) if present is not None else None)
        self._forget_if_over(launch)

    def start_no_more(self) -> None:
        """What is about to start fails."""
        self._starts_no_more = True
        self._zygotes.end()

    def when_all_empty(self, callback: Callable[[], None]) -> None:
        """Call back, once, as soon as no launch has a process left."""
        self._on_all_empty = callback
        self._tell_if_all_empty()

    def _start(self, request: Spawn, launch: _Launch) -> None:
        with ExitStack() as given_away:
            try:
                writers: list[int] = []
                for log in [request.out] if request.out == request.err else [request.out, request.err]:
                    stream_id, write_end = self._pump.open_stream(log)
                    given_away.callback(os.close, write_end)
                    launch.streams.append(stream_id)
                    writers.append(write_end)
            except OSError as error:
                self._fail(launch, SpawnFailure("output", str(error)))
                return
            cgroup: int | None = None
            try:
                if self._cgroups is not None:
                    launch.cgroup = self._cgroups.make(request.launch_id, request.limits)
                    cgroup = launch.cgroup.open()
                    given_away.callback(os.close, cgroup)
            except OSError as error:
                self._fail(launch, SpawnFailure("limits", str(error)))
                return
            program = self._program(request, cgroup, stdout=writers[0], stderr=writers[-1])
            # A zygote runs as the launcher does, and imports what the user may have put in its way.
            if request.zygote is None or request.user is not None:
                self._execute(program, launch)
            else:
                self._fork(request.zygote, program, launch, given_away.pop_all())

    def _execute(self, program: Program, launch: _Launch) -> None:
        if self._starts_no_more:
            self._fail(launch, SpawnFailure("fork", "the node goes down"))
            return
        try:
            pid = self._children.start(
                program, on_started=partial(self._on_started, launch), on_exit=partial(self._on_exit, launch)
            )
        except OSError as error:
            self._fail(launch, SpawnFailure("fork", str(error)))
            return
        self._on_forked(launch, pid)

    def _fork(self, warmth: Warmth, program: Program, launch: _Launch, given_away: ExitStack) -> None:
        def on_forked(pid: int) -> None:
            given_away.close()
            self._on_forked(launch, pid)

        def on_refused() -> None:
            with given_away:
                self._execute(program, launch)

        self._zygotes.fork(
            warmth,
            ForkRequest(
                program=program,
                on_forked=on_forked,
                on_refused=on_refused,
                on_started=partial(self._on_started, launch),
                on_exit=partial(self._on_exit, launch),
            ),
        )

    def _on_forked(self, launch: _Launch, pid: int) -> None:
        slot = launch.slot
        slot.pid = pid
        self._trees.add(slot.launch_id, pid, launch.cgroup)
        self._deadlines.set(slot.launch_id, slot.not_after)

    def _fail(self, launch: _Launch, failure: SpawnFailure) -> None:
        launch.failure = failure
        if launch.cgroup is not None:
            launch.cgroup.remove()
        self._on_empty(launch)

    def _program(self, request: Spawn, cgroup: int | None, *, stdout: int, stderr: int) -> Program:
        tags = self._tag.environment | {LAUNCH_ID_VARIABLE: request.launch_id}
        return Program(
            argv=request.argv,
            env=request.env | tags,
            cwd=request.cwd,
            stdout=stdout,
            stderr=stderr,
            limits=request.limits,
            user=request.user,
            no_new_privileges=request.no_new_privileges,
            cgroup=cgroup,
            bounded_by_cgroup=self._cgroups.controllers if self._cgroups is not None else frozenset(),
        )

    def _answer_again(self, slot: Slot, answer: Answer) -> None:
        if slot.state is SlotState.LAUNCHING:
            self._launches[slot.launch_id].answers.append(answer)
        else:
            answer(_outcome(slot))

    def _on_started(self, launch: _Launch, failure: SpawnFailure | None) -> None:
        launch.failure = failure
        if failure is None:
            launch.slot.state = SlotState.RUNNING
            self._answer(launch)
            self._tell_if_none_starts()

    def _on_exit(self, launch: _Launch, ended: Exit) -> None:
        slot = launch.slot
        self._deadlines.set(slot.launch_id, None)
        self._dying.add(slot.launch_id)
        self._look()
        if launch.failure is not None:
            slot.pid = None
            return
        slot.state = SlotState.EXITED
        record = ExitRecord(
            slot=slot.name,
            launch_id=slot.launch_id,
            started_at=slot.started_at,
            exit=ended,
            oom_killed=launch.cgroup is not None and launch.cgroup.oom_kills() > 0,
        )
        slot.record_exit(record)
        self._emit({"type": "exited", "exit": record.to_json()})
        self._save(launch, record)

    def _save(self, launch: _Launch, record: ExitRecord | None) -> None:
        """Have its output saved. `record` None: nobody waits for its last lines any more."""
        if record is None:
            return
        launch.saving = True
        for stream, stream_id in zip(_STREAMS, launch.streams, strict=False):
            self._pump.flush(stream_id, partial(self._on_flushed, launch, record, stream))

    def _on_flushed(self, launch: _Launch, record: ExitRecord, stream: str, last_lines: list[str]) -> None:
        launch.last_lines[stream] = last_lines
        if len(launch.last_lines) < len(launch.streams):
            return
        launch.saving = False
        slot = self._slots.get(launch.slot.name)
        if slot is not None:
            slot.complete_exit(record.launch_id, launch.last_lines)
        self._emit({"type": "drained", "exit": replace(record, last_lines=launch.last_lines).to_json()})
        self._forget_if_over(launch)

    def _look(self) -> None:
        self._look_due = True

    def _finish_dying(self) -> None:
        """Once a round: one look serves all launches that have ended in it."""
        if not self._look_due or not self._dying:
            return
        finished, undecided = self._trees.finish(self._dying)
        self._look_due = False
        for launch_id in finished:
            self._dying.remove(launch_id)
            self._on_empty(self._launches[launch_id])
        if undecided:
            self._loop.call_later(_LOOK_AGAIN_S, self._look)
        self._tell_if_all_empty()

    def _on_empty(self, launch: _Launch) -> None:
        launch.empty = True
        slot = launch.slot
        slot.state = SlotState.EMPTY
        self._tell_if_none_starts()
        if launch.failure is None:
            self._emit({"type": "empty", "slot": slot.name, "launch_id": slot.launch_id})
        else:
            slot.spawn_failure = str(launch.failure)
            self._answer(launch)
        self._forget_if_over(launch)

    def _answer(self, launch: _Launch) -> None:
        answers, launch.answers = launch.answers, []
        for answer in answers:
            answer(_outcome(launch.slot))

    def _forget_if_over(self, launch: _Launch) -> None:
        if launch.empty and not launch.saving:
            for stream_id in launch.streams:
                self._pump.close_stream(stream_id)
            del self._launches[launch.slot.launch_id]

    def _tell_if_none_starts(self) -> None:
        if self._on_none_starts is not None and all(slot.state is not SlotState.LAUNCHING for slot in self._slots):
            callback, self._on_none_starts = self._on_none_starts, None
            callback()

    def _tell_if_all_empty(self) -> None:
        if self._on_all_empty is not None and all(slot.state is SlotState.EMPTY for slot in self._slots):
            callback, self._on_all_empty = self._on_all_empty, None
            callback()

    def _kill(self, launch_id: str) -> None:
        self._trees.signal(launch_id, signal.SIGKILL)


def _outcome(slot: Slot) -> Result | RequestError:
    if slot.spawn_failure is not None:
        return RequestError("spawn_failed", slot.spawn_failure)
    return {"pid": slot.pid, "started_at": slot.started_at}
