"""Slots change by compare-and-set only, and keep exits until they are acknowledged."""

import pytest

from agent_manager.launcher.exits import Exit, ExitRecord
from agent_manager.launcher.slots import EXITS_KEPT, RequestError, Slot, SlotState, SlotTable


def _exit(launch_id: str) -> ExitRecord:
    ended = Exit(pid=7, code=1, signal=None, core_dumped=False, max_rss_kb=1, user_s=0.1, system_s=0.2, ended_at=2.0)
    return ExitRecord(slot="a_0", launch_id=launch_id, started_at=1.0, exit=ended)


def _begin(table: SlotTable, launch_id: str, expected: str | None) -> Slot:
    return table.begin("a_0", launch_id, expected=expected, started_at=1.0)


def _empty(table: SlotTable, launch_id: str, expected: str | None) -> Slot:
    slot = _begin(table, launch_id, expected)
    slot.state = SlotState.EMPTY
    return slot


def test_a_new_slot_expects_nothing() -> None:
    with pytest.raises(RequestError, match="has launch None, expected was 'l0'") as refused:
        _begin(SlotTable(), "l1", "l0")
    assert refused.value.code == "conflict"


@pytest.mark.parametrize("expected", [None, "other"])
def test_a_conflict_names_the_present_launch(expected: str | None) -> None:
    table = SlotTable()
    _empty(table, "l1", None)
    with pytest.raises(RequestError, match="has launch 'l1'"):
        _begin(table, "l2", expected)


@pytest.mark.parametrize("state", [SlotState.LAUNCHING, SlotState.RUNNING, SlotState.EXITED])
def test_a_slot_is_not_given_away_before_its_tree_is_empty(state: SlotState) -> None:
    table = SlotTable()
    _begin(table, "l1", None).state = state
    with pytest.raises(RequestError, match=f"is still {state}"):
        _begin(table, "l2", "l1")


@pytest.mark.parametrize(
    ("state", "pid", "lives"),
    [
        (SlotState.LAUNCHING, 7, True),
        (SlotState.RUNNING, 7, True),
        (SlotState.LAUNCHING, None, False),  # it could not execute its program, and has been reaped
        (SlotState.EXITED, 7, False),
        (SlotState.EMPTY, 7, False),
    ],
)
def test_a_pid_counts_while_its_process_has_not_been_reaped(state: SlotState, pid: int | None, lives: bool) -> None:
    slot = _begin(SlotTable(), "l1", None)
    slot.state, slot.pid = state, pid
    assert slot.main_lives is lives


def test_a_new_launch_inherits_exits_and_nothing_else() -> None:
    table = SlotTable()
    first = _empty(table, "l1", None)
    first.metadata, first.not_after, first.spawn_failure = "old", 5.0, "exec failed"
    first.record_exit(_exit("l1"))
    second = _begin(table, "l2", "l1")
    assert (second.metadata, second.not_after, second.spawn_failure, second.pid) == (None, None, None, None)
    assert [record["launch_id"] for record in second.to_json()["exits"]] == ["l1"]


def test_the_newest_exits_are_kept_and_the_others_counted() -> None:
    slot = _empty(SlotTable(), "l", None)
    for number in range(EXITS_KEPT + 3):
        slot.record_exit(_exit(f"l{number}"))
    assert [record.launch_id for record in slot.exits] == [f"l{number}" for number in range(3, EXITS_KEPT + 3)]
    assert slot.exits_dropped == 3


def test_an_exit_is_acknowledged_once_and_more_often_without_harm() -> None:
    slot = _empty(SlotTable(), "l1", None)
    slot.record_exit(_exit("l1"))
    slot.record_exit(_exit("l2"))
    slot.complete_exit("l1", {})
    for _ in range(2):
        slot.acknowledge("l1")
    assert [record.launch_id for record in slot.exits] == ["l2"]


def test_last_lines_are_kept_with_the_exit_they_belong_to() -> None:
    slot = _empty(SlotTable(), "l1", None)
    slot.record_exit(_exit("l1"))
    slot.record_exit(_exit("l2"))
    slot.complete_exit("l2", {"out": ["end"]})
    slot.complete_exit("l3", {"out": ["of another"]})
    assert [(record.launch_id, record.last_lines) for record in slot.exits] == [("l1", None), ("l2", {"out": ["end"]})]


def test_only_the_newest_exit_keeps_its_last_lines() -> None:
    slot = _empty(SlotTable(), "l1", None)
    slot.record_exit(_exit("l1"))
    slot.complete_exit("l1", {"out": ["end"]})
    slot.record_exit(_exit("l2"))
    slot.record_exit(_exit("l3"))
    slot.complete_exit("l2", {"out": ["late"]})
    assert [(record.launch_id, record.last_lines) for record in slot.exits] == [("l1", {}), ("l2", {}), ("l3", None)]


def test_an_exit_acknowledged_before_its_last_lines_is_kept_for_these_and_hinders_no_release() -> None:
    table = SlotTable()
    slot = _empty(table, "l1", None)
    slot.record_exit(_exit("l1"))
    slot.acknowledge("l1")
    slot.complete_exit("l1", {"err": ["why"]})
    assert [record.to_json()["last_lines"] for record in slot.exits] == [{"err": ["why"]}]
    table.release("a_0")
    assert list(table) == []
    slot.acknowledge("l1")
    assert list(slot.exits) == []


def test_a_slot_is_released_when_nothing_is_left_to_tell() -> None:
    table = SlotTable()
    slot = _begin(table, "l1", None)
    with pytest.raises(RequestError, match="still launching"):
        table.release("a_0")
    slot.state = SlotState.EMPTY
    slot.record_exit(_exit("l1"))
    with pytest.raises(RequestError, match="1 exits are not acknowledged"):
        table.release("a_0")
    slot.acknowledge("l1")
    for _ in range(2):
        table.release("a_0")
    assert list(table) == []


def test_a_launch_of_the_past_is_a_conflict() -> None:
    table = SlotTable()
    _begin(table, "l2", None)
    with pytest.raises(RequestError, match="has launch 'l2', not 'l1'"):
        table.of_launch("a_0", "l1")
    with pytest.raises(RequestError, match="'b_0' does not exist"):
        table.of_launch("b_0", "l1")
