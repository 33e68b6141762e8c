"""Whether, and when, an ended instance is started again."""

from __future__ import annotations

from dataclasses import dataclass

from agent_manager.domain.exits import Exit
from agent_manager.domain.specification import RestartMode, RestartPolicy


@dataclass(frozen=True, kw_only=True, slots=True)
class RestartHistory:
    """What earlier restarts of an instance were. Times are seconds of the clock given to `decide`."""

    restarted_at: tuple[float, ...] = ()
    """Moments of the restarts inside the policy's window, oldest first."""
    streak: int = 0
    """Restarts since the instance was last healthy for `reset_after_s`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Restart:
    """Start again at `at`."""

    at: float
    delay_s: float
    reason: str
    history: RestartHistory


@dataclass(frozen=True, kw_only=True, slots=True)
class StayStopped:
    """The policy does not want it back."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class GiveUp:
    """It ended too often; a person has to look."""

    reason: str


Decision = Restart | StayStopped | GiveUp

JITTER = 0.25
"""A delay is spread over ±25 %, so that instances that fell together do not rise together."""


LAST_WORDS_S = 0.3
"""By then it is known what a launch has said at last, unless the machine is very busy."""


def decide(
    policy: RestartPolicy,
    history: RestartHistory,
    exit_: Exit,
    *,
    healthy_s: float,
    now: float,
    jitter: float,
    node_wait_s: float = 0.0,
    at_once: bool = True,
) -> Decision:
    """Decide what follows an exit nobody asked for.

    `healthy_s` is how long the launch was ready before it ended, `now` the present moment on the history's clock,
    `jitter` a random number in [0, 1), `node_wait_s` how long the node's budget makes every restart wait, `at_once`
    whether the first restart may do without any wait.
    """
    if policy.policy is RestartMode.NEVER:
        return _not_again(exit_, "restart policy is never")
    if policy.policy is RestartMode.ON_FAILURE and not exit_.failed:
        return _not_again(exit_, "restart policy is on-failure")
    recent = tuple(at for at in history.restarted_at if now - at < policy.window_s)
    if len(recent) >= policy.max_restarts:
        how_often = "once" if len(recent) == 1 else f"{len(recent)} times"
        return GiveUp(
            reason=f"{exit_.message}; restarted {how_often} in {policy.window_s:g} s, "
            f"and max_restarts={policy.max_restarts} allows no more: given up"
        )
    streak = 0 if healthy_s >= policy.reset_after_s else history.streak
    own_s = backoff_s(policy, streak, jitter)
    if not at_once:
        own_s = max(own_s, LAST_WORDS_S)
    delay_s = max(own_s, node_wait_s)
    what = f"restart in {delay_s:.1f} s" if delay_s else "restarted at once"
    if node_wait_s > own_s:
        what += ", when the node's budget of restarts allows it"
    return Restart(
        at=now + delay_s,
        delay_s=delay_s,
        reason=f"{exit_.message}; {what}",
        history=RestartHistory(restarted_at=(*recent, now), streak=streak + 1),
    )


def backoff_s(policy: RestartPolicy, streak: int, jitter: float) -> float:
    """Seconds to wait before restart number `streak` (0 is the first, at once) of a run of failures."""
    if streak == 0:
        return 0.0
    # The exponent is bounded: a float overflows long before a streak ends.
    steps = min(streak - 1, 64)
    spread = 1.0 - JITTER + 2 * JITTER * jitter
    return min(policy.backoff_initial_s * policy.backoff_factor**steps * spread, policy.backoff_max_s)


def _not_again(exit_: Exit, why: str) -> StayStopped | GiveUp:
    if exit_.failed:
        return GiveUp(reason=f"{exit_.message}; {why}")
    return StayStopped(reason=f"{exit_.message}; {why}")
