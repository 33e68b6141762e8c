"""Slots: what the launcher remembers of each instance. Pure state, changed by compare-and-set on the launch id."""

import dataclasses
import enum
from collections import deque
from collections.abc import Iterator
from typing import Any

from agent_manager.launcher.exits import ExitRecord
from agent_manager.launcher.fields import Fields, count, name, natural, number, one_of, text

EXITS_KEPT = 16


class RequestError(Exception):
    """A request is refused; `code` is stable, the message says why with the values concerned."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class SlotState(enum.StrEnum):
    """Where the present launch of a slot is."""

    LAUNCHING = "launching"  # forked, its program is not executing yet
    RUNNING = "running"
    EXITED = "exited"  # its main process has ended, others of its tree are left
    EMPTY = "empty"


@dataclasses.dataclass(slots=True, kw_only=True)
class Slot:
    """One slot: its present launch, and the exits of this and earlier launches that nobody has acknowledged yet."""

    name: str
    launch_id: str
    started_at: float
    state: SlotState = SlotState.LAUNCHING
    pid: int | None = None
    spawn_failure: str | None = None
    metadata: Any = None
    not_after: float | None = None
    exits: deque[ExitRecord] = dataclasses.field(default_factory=deque)
    exits_dropped: int = 0

    @property
    def main_lives(self) -> bool:
        """Whether there is a main process that has not been reaped, so that `pid` is certainly its own."""
        return self.pid is not None and self.state in (SlotState.LAUNCHING, SlotState.RUNNING)

    def record_exit(self, record: ExitRecord) -> None:
        """Keep an exit until it is acknowledged: the newest 16 of them, and the last lines of the newest alone."""
        older = (dataclasses.replace(kept, last_lines={}) if kept.last_lines else kept for kept in self.exits)
        self.exits = deque([*older, record])
        if len(self.exits) > EXITS_KEPT:
            self.exits.popleft()
            self.exits_dropped += 1

    def complete_exit(self, launch_id: str, last_lines: dict[str, list[str]]) -> None:
        """The last lines of a launch are known; nothing happens if its exit is not there any more."""
        for place, kept in enumerate(self.exits):
            if kept.launch_id == launch_id:
                is_newest = place == len(self.exits) - 1
                self.exits[place] = dataclasses.replace(kept, last_lines=last_lines if is_newest else {})

    def exit_of(self, launch_id: str) -> ExitRecord | None:
        """The exit of this launch, if it is still kept."""
        return next((kept for kept in self.exits if kept.launch_id == launch_id), None)

    def acknowledge(self, launch_id: str) -> None:
        """Forget the exit of this launch, or remember that only its last lines are still to be told.

        Nothing happens if it is not there (any more).
        """
        for kept in list(self.exits):
            if kept.launch_id == launch_id:
                if kept.last_lines is None:
                    self.exits[self.exits.index(kept)] = dataclasses.replace(kept, acknowledged=True)
                else:
                    self.exits.remove(kept)

    def export(self) -> dict[str, Any]:
        """What `restore` takes: `to_json`, and what is nobody else's business."""
        exits = [{**kept.to_json(), "acknowledged": kept.acknowledged} for kept in self.exits]
        return {**self.to_json(), "exits": exits, "spawn_failure": self.spawn_failure}

    @classmethod
    def restore(cls, fields: Fields) -> "Slot":
        """The slot of an earlier launcher. Raises FieldError."""
        return cls(
            name=fields.get("slot", name),
            launch_id=fields.get("launch_id", name),
            started_at=fields.get("started_at", number),
            state=SlotState(fields.get("state", one_of(*SlotState))),
            pid=fields.optional("pid", count),
            spawn_failure=fields.optional("spawn_failure", text),
            metadata=fields.optional("metadata", lambda value: value),
            not_after=fields.optional("not_after", number),
            exits=deque(ExitRecord.restore(each) for each in fields.objects("exits")),
            exits_dropped=fields.get("exits_dropped", natural),
        )

    def to_json(self) -> dict[str, Any]:
        """The `slot` of the protocol."""
        return {
            "slot": self.name,
            "launch_id": self.launch_id,
            "state": self.state,
            "pid": self.pid,
            "started_at": self.started_at,
            "metadata": self.metadata,
            "not_after": self.not_after,
            "exits": [record.to_json() for record in self.exits],
            "exits_dropped": self.exits_dropped,
        }


class SlotTable:
    """All slots by name."""

    def __init__(self) -> None:
        self._slots: dict[str, Slot] = {}

    def __iter__(self) -> Iterator[Slot]:
        return iter(self._slots.values())

    def get(self, name: str) -> Slot | None:
        """The slot, if there is one."""
        return self._slots.get(name)

    def restore(self, slot: Slot) -> None:
        """Take over the slot of an earlier launcher."""
        self._slots[slot.name] = slot

    def begin(self, name: str, launch_id: str, *, expected: str | None, started_at: float) -> Slot:
        """Give the slot to a new launch. Raises RequestError `conflict` unless the compare-and-set holds."""
        slot = self._slots.get(name)
        present = slot.launch_id if slot else None
        if present != expected:
            raise RequestError("conflict", f"slot {name!r} has launch {present!r}, expected was {expected!r}")
        if slot is not None and slot.state is not SlotState.EMPTY:
            raise RequestError("conflict", f"slot {name!r}: launch {present!r} is still {slot.state}")
        fresh = self._slots[name] = Slot(name=name, launch_id=launch_id, started_at=started_at)
        if slot is not None:
            fresh.exits, fresh.exits_dropped = slot.exits, slot.exits_dropped
        return fresh

    def of_launch(self, name: str, launch_id: str) -> Slot:
        """The slot, if this is its present launch. Raises RequestError `conflict` otherwise."""
        slot = self._slots.get(name)
        if slot is None:
            raise RequestError("conflict", f"slot {name!r} does not exist")
        if slot.launch_id != launch_id:
            raise RequestError("conflict", f"slot {name!r} has launch {slot.launch_id!r}, not {launch_id!r}")
        return slot

    def release(self, name: str) -> None:
        """Forget a slot of which nothing is left to tell; an unknown one is forgotten already.

        Raises RequestError `conflict` while its tree is not empty or exits wait for their acknowledgement.
        """
        slot = self._slots.get(name)
        if slot is None:
            return
        if slot.state is not SlotState.EMPTY:
            raise RequestError("conflict", f"slot {name!r}: launch {slot.launch_id!r} is still {slot.state}")
        if waiting := sum(not kept.acknowledged for kept in slot.exits):
            raise RequestError("conflict", f"slot {name!r}: {waiting} exits are not acknowledged")
        del self._slots[name]
