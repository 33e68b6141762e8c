"""The status an agent reports, and what it means for commands."""

from __future__ import annotations

import pytest

from agent_manager.sdk.errors import CommandError
from agent_manager.sdk.status import Status


def started() -> Status:
    status = Status()
    status.start()
    return status


def word(status: Status) -> str:
    return status.name


def test_it_is_starting_until_started() -> None:
    assert Status().name == "starting"
    assert started().name == "running"


def test_a_pause_during_the_start_comes_into_force_after_it() -> None:
    status = Status()
    status.pause(True)
    assert word(status) == "starting"
    status.start()
    assert word(status) == "paused"
    status.pause(False)
    assert word(status) == "running"


def test_draining_is_final() -> None:
    status = started()
    status.drain()
    for paused in (True, False):
        with pytest.raises(CommandError) as refused:
            status.pause(paused)
        assert refused.value.code == "conflict"
    assert status.name == "draining"


@pytest.mark.parametrize(
    ("name", "code", "retryable"),
    [("starting", "unavailable", True), ("paused", "conflict", False), ("draining", "unavailable", True)],
)
def test_only_a_running_agent_takes_commands(name: str, code: str, retryable: bool) -> None:
    status = Status() if name == "starting" else started()
    if name == "paused":
        status.pause(True)
    if name == "draining":
        status.drain()
    assert status.name == name
    with pytest.raises(CommandError, match=name) as refused:
        status.check_takes_commands()
    assert (refused.value.code, refused.value.retryable) == (code, retryable)
    started().check_takes_commands()
