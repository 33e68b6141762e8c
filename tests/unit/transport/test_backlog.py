"""Late is what was there before and is not read yet; much is not late."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from agent_manager.transport.backlog import Backlog


def watched(waiting: int) -> tuple[Backlog, Any]:
    subscription: Any = SimpleNamespace(pending_msgs=waiting)
    backlog = Backlog()
    client: Any = SimpleNamespace(is_closed=False)
    backlog.watch(client, [subscription])
    return backlog, subscription


def read(backlog: Backlog, count: int) -> None:
    for _ in range(count):
        backlog.was_read()


def test_however_much_waits_is_not_late_as_long_as_it_is_read_until_the_next_look() -> None:
    backlog, _ = watched(5_000)
    for _ in range(5):
        assert not backlog.is_late()
        # And as many have come.
        read(backlog, 5_000)


def test_what_waited_at_the_last_look_and_waits_still_is_late() -> None:
    backlog, subscription = watched(5_000)
    assert not backlog.is_late()
    read(backlog, 1_000)
    assert backlog.is_late()
    subscription.pending_msgs = 0
    read(backlog, 9_000)
    assert not backlog.is_late()


def test_what_waits_for_a_client_that_is_closed_waits_in_vain() -> None:
    backlog, _ = watched(0)
    closed: Any = SimpleNamespace(is_closed=True)
    left_behind: Any = SimpleNamespace(pending_msgs=10)
    backlog.watch(closed, [left_behind])
    for _ in range(3):
        assert not backlog.is_late()
        read(backlog, 1)


def test_a_subscription_that_is_not_read_at_all_has_ended() -> None:
    backlog, _ = watched(3)
    assert [backlog.is_late() for _ in range(4)] == [False] * 4
