"""Lifecycle: what the user intends with an agent. Observation never changes it."""

from __future__ import annotations

from enum import StrEnum

from agent_manager.domain.errors import ConflictError


class Lifecycle(StrEnum):
    """The states of intent; see `ALLOWED` for the way between them."""

    CREATED = "created"
    INITIALIZING = "initializing"
    READY = "ready"
    ACTIVE = "active"
    PAUSED = "paused"
    TERMINATED = "terminated"
    FAILED = "failed"

    @property
    def runs(self) -> bool:
        """Whether an agent in this state should have running instances."""
        return self in (Lifecycle.ACTIVE, Lifecycle.PAUSED)


ALLOWED: dict[Lifecycle, frozenset[Lifecycle]] = {
    Lifecycle.CREATED: frozenset({Lifecycle.INITIALIZING, Lifecycle.TERMINATED}),
    Lifecycle.INITIALIZING: frozenset({Lifecycle.READY, Lifecycle.FAILED, Lifecycle.TERMINATED}),
    Lifecycle.READY: frozenset({Lifecycle.ACTIVE, Lifecycle.INITIALIZING, Lifecycle.TERMINATED}),
    Lifecycle.ACTIVE: frozenset({Lifecycle.PAUSED, Lifecycle.READY, Lifecycle.TERMINATED}),
    Lifecycle.PAUSED: frozenset({Lifecycle.ACTIVE, Lifecycle.READY, Lifecycle.TERMINATED}),
    Lifecycle.FAILED: frozenset({Lifecycle.INITIALIZING, Lifecycle.TERMINATED}),
    Lifecycle.TERMINATED: frozenset(),
}


def move(agent_id: str, present: Lifecycle, wanted: Lifecycle) -> Lifecycle:
    """Return `wanted` when the way from `present` is allowed; staying is.

    Raises ConflictError naming the state and what is allowed from it.
    """
    if wanted is present or wanted in ALLOWED[present]:
        return wanted
    allowed = sorted(ALLOWED[present])
    ways = ", ".join(allowed) or "nothing"
    raise ConflictError(
        f"agent {agent_id} is {present} and cannot become {wanted}; allowed from here: {ways}",
        detail={"lifecycle": present.value, "allowed": [state.value for state in allowed]},
    )
