"""How soon it is tried again."""

from __future__ import annotations

from agent_manager.nats_access.pace import Pace


def test_delays_between_attempts_grow_up_to_a_bound_and_are_spread() -> None:
    pace = Pace()
    assert all(0.05 <= pace.retry_s(0) <= 0.1 for _ in range(100))
    assert all(2.5 <= pace.retry_s(failures) <= 5.0 for failures in (6, 10, 10_000))
    assert len({pace.retry_s(3) for _ in range(100)}) > 50
