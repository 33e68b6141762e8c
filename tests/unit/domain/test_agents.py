"""What commands make of an agent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent_manager.domain.errors import ConflictError
from agent_manager.domain.lifecycle import ALLOWED, Lifecycle, move
from tests.harness.domain import agent


@pytest.mark.parametrize(
    "state", [Lifecycle.CREATED, Lifecycle.INITIALIZING, Lifecycle.READY, Lifecycle.FAILED, Lifecycle.ACTIVE]
)
def test_a_start_activates_whatever_can_be_activated(state: Lifecycle) -> None:
    started = agent(lifecycle=state).started(2.0)
    assert (started.lifecycle, started.start_serial, started.restart_serial) == (Lifecycle.ACTIVE, 1, 0)
    assert started.updated_at == 2.0
    assert started.should_run


def test_a_paused_agent_stays_paused_when_started_or_restarted() -> None:
    paused = agent(lifecycle=Lifecycle.PAUSED)
    assert paused.started(2.0).lifecycle is Lifecycle.PAUSED
    assert paused.restarted(2.0).restart_serial == 1
    assert paused.should_run


@pytest.mark.parametrize("state", [Lifecycle.ACTIVE, Lifecycle.PAUSED, Lifecycle.READY])
def test_a_stop_makes_it_ready(state: Lifecycle) -> None:
    stopped = agent(lifecycle=state).stopped(2.0)
    assert stopped.lifecycle is Lifecycle.READY
    assert not stopped.should_run


def test_a_terminated_agent_takes_no_command_and_the_error_says_what_is_allowed() -> None:
    terminated = agent(lifecycle=Lifecycle.TERMINATED)
    for command in (terminated.started, terminated.stopped, terminated.restarted):
        with pytest.raises(ConflictError, match=r"agent echo is terminated .* allowed from here: nothing"):
            command(2.0)


def test_an_agent_whose_folder_is_gone_can_be_stopped_but_not_started() -> None:
    gone = replace(agent(), available=False)
    with pytest.raises(ConflictError, match="the folder of its package echo is gone"):
        gone.started(2.0)
    with pytest.raises(ConflictError, match="put it back"):
        gone.restarted(2.0)
    assert gone.stopped(2.0).lifecycle is Lifecycle.READY


@pytest.mark.parametrize("present", list(Lifecycle))
@pytest.mark.parametrize("wanted", list(Lifecycle))
def test_only_listed_ways_are_open_and_staying_always_is(present: Lifecycle, wanted: Lifecycle) -> None:
    if wanted is present or wanted in ALLOWED[present]:
        assert move("echo", present, wanted) is wanted
        return
    with pytest.raises(ConflictError) as refused:
        move("echo", present, wanted)
    assert refused.value.detail == {
        "lifecycle": present.value,
        "allowed": sorted(state.value for state in ALLOWED[present]),
    }
