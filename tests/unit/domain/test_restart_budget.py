"""The budget of restarts of a node."""

from __future__ import annotations

from agent_manager.domain.restart_budget import BudgetPolicy, RestartBudget

POLICY = BudgetPolicy(burst=3, per_s=2.0)


def spent(times: int, *, now: float = 100.0) -> RestartBudget:
    budget = RestartBudget()
    for _ in range(times):
        budget = budget.spend(POLICY, now)
    return budget


def test_a_burst_waits_for_nothing() -> None:
    assert [spent(times).wait_s(POLICY, 100.0) for times in range(3)] == [0.0, 0.0, 0.0]


def test_beyond_the_burst_each_restart_waits_for_one_of_its_own() -> None:
    assert [spent(times).wait_s(POLICY, 100.0) for times in (3, 4, 5)] == [0.5, 1.0, 1.5]


def test_what_was_spent_comes_back_with_time_and_never_more() -> None:
    assert spent(5).wait_s(POLICY, 101.0) == 0.5
    assert spent(5).wait_s(POLICY, 101.5) == 0.0
    rested = spent(5)
    for _ in range(3):
        assert rested.wait_s(POLICY, 1000.0) == 0.0
        rested = rested.spend(POLICY, 1000.0)
    assert rested.wait_s(POLICY, 1000.0) == 0.5


def test_a_clock_that_stands_still_or_goes_back_gives_nothing() -> None:
    assert spent(3).wait_s(POLICY, 99.0) == 0.5
