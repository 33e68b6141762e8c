"""Restart decisions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_manager.domain.exits import Exit, ExitReason
from agent_manager.domain.restarts import GiveUp, Restart, RestartHistory, StayStopped, backoff_s, decide
from agent_manager.domain.specification import RestartMode, RestartPolicy

CRASH = Exit(launch_id="l", incarnation=1, reason=ExitReason.CRASH, message="exited with code 1", at=0.0, code=1)
DONE = Exit(launch_id="l", incarnation=1, reason=ExitReason.COMPLETED, message="exited with code 0", at=0.0, code=0)


def crash(policy: RestartPolicy, history: RestartHistory, *, now: float, healthy_s: float = 0.0) -> object:
    return decide(policy, history, CRASH, healthy_s=healthy_s, now=now, jitter=0.5)


def test_the_first_restart_is_immediate() -> None:
    decision = crash(RestartPolicy(), RestartHistory(), now=10.0)
    assert isinstance(decision, Restart)
    assert (decision.at, decision.delay_s) == (10.0, 0.0)
    assert "at once" in decision.reason


def test_later_restarts_back_off_exponentially_up_to_the_cap() -> None:
    policy = RestartPolicy(backoff_initial_s=0.1, backoff_factor=2.0, backoff_max_s=1.0)
    delays = [backoff_s(policy, streak, 0.5) for streak in range(7)]
    assert delays == pytest.approx([0.0, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0])


@given(streak=st.integers(0, 10_000), jitter=st.floats(0, 1, exclude_max=True))
def test_a_delay_is_never_negative_and_never_above_the_cap(streak: int, jitter: float) -> None:
    policy = RestartPolicy()
    assert 0.0 <= backoff_s(policy, streak, jitter) <= policy.backoff_max_s


def test_jitter_spreads_a_delay_by_a_quarter_to_either_side() -> None:
    policy = RestartPolicy(backoff_initial_s=1.0)
    assert (backoff_s(policy, 1, 0.0), backoff_s(policy, 1, 0.5)) == pytest.approx((0.75, 1.0))
    assert backoff_s(policy, 1, 1.0) == pytest.approx(1.25)


def test_too_many_restarts_in_the_window_give_up_with_the_reason() -> None:
    policy = RestartPolicy(max_restarts=3, window_s=60.0)
    history = RestartHistory(restarted_at=(0.0, 1.0, 2.0), streak=3)
    decision = crash(policy, history, now=3.0)
    assert isinstance(decision, GiveUp)
    assert "exited with code 1" in decision.reason
    assert "3 times in 60 s" in decision.reason


def test_restarts_outside_the_window_do_not_count() -> None:
    policy = RestartPolicy(max_restarts=3, window_s=60.0)
    decision = crash(policy, RestartHistory(restarted_at=(0.0, 1.0, 2.0), streak=3), now=61.0)
    assert isinstance(decision, Restart)
    assert decision.history.restarted_at == (2.0, 61.0)


def test_health_resets_the_backoff_but_not_the_window() -> None:
    policy = RestartPolicy(reset_after_s=60.0, window_s=600.0)
    decision = crash(policy, RestartHistory(restarted_at=(1.0,), streak=9), now=100.0, healthy_s=60.0)
    assert isinstance(decision, Restart)
    assert decision.delay_s == 0.0
    assert decision.history == RestartHistory(restarted_at=(1.0, 100.0), streak=1)


def test_a_crash_after_a_short_life_still_backs_off() -> None:
    decision = crash(RestartPolicy(), RestartHistory(streak=4), now=100.0, healthy_s=1.1)
    assert isinstance(decision, Restart)
    assert decision.delay_s == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("mode", "exit_", "expected"),
    [
        (RestartMode.ALWAYS, DONE, Restart),
        (RestartMode.ALWAYS, CRASH, Restart),
        (RestartMode.ON_FAILURE, DONE, StayStopped),
        (RestartMode.ON_FAILURE, CRASH, Restart),
        (RestartMode.NEVER, DONE, StayStopped),
        (RestartMode.NEVER, CRASH, GiveUp),
    ],
)
def test_the_policy_decides_which_exits_are_followed_by_a_restart(
    mode: RestartMode, exit_: Exit, expected: type
) -> None:
    decision = decide(RestartPolicy(policy=mode), RestartHistory(), exit_, healthy_s=0.0, now=0.0, jitter=0.0)
    assert isinstance(decision, expected)
    assert exit_.message in decision.reason


def test_no_restarts_allowed_means_the_first_failure_is_final() -> None:
    assert isinstance(crash(RestartPolicy(max_restarts=0), RestartHistory(), now=0.0), GiveUp)
