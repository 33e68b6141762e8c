"""How often a node restarts what ended, over all its instances: a token bucket, as a pure value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class BudgetPolicy:
    """`burst` restarts without any wait, and `per_s` more every second."""

    burst: int = 1_000
    per_s: float = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class RestartBudget:
    """What has been spent, as of `at` (monotonic seconds). More than there is may be spent: the next wait longer."""

    spent: float = 0.0
    at: float = 0.0

    def wait_s(self, policy: BudgetPolicy, now: float) -> float:
        """Seconds until one more restart is within the budget."""
        return max(0.0, (self._spent(policy, now) + 1 - policy.burst) / policy.per_s)

    def spend(self, policy: BudgetPolicy, now: float) -> RestartBudget:
        """The budget after one more restart has been decided on."""
        return RestartBudget(spent=self._spent(policy, now) + 1, at=now)

    def _spent(self, policy: BudgetPolicy, now: float) -> float:
        return max(0.0, self.spent - max(0.0, now - self.at) * policy.per_s)
