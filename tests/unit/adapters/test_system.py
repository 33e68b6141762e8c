from __future__ import annotations

from agent_manager.adapters.system import SystemChance, SystemClock
from agent_manager.protocol import subjects


def test_no_moment_is_before_the_one_before_it() -> None:
    clock = SystemClock()
    moments = [clock.now() for _ in range(100)]
    assert [moment.mono for moment in moments] == sorted(moment.mono for moment in moments)


def test_launch_ids_are_subject_tokens_that_do_not_repeat() -> None:
    chance = SystemChance()
    ids = {subjects.token(chance.launch_id()) for _ in range(1_000)}
    assert len(ids) == 1_000
    assert all(0.0 <= chance.jitter() < 1.0 for _ in range(1_000))
