"""When an agent beats."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_manager.sdk.heartbeat import MOMENTS, pause_s

NOWS = st.floats(0.0, 1e8)
INTERVALS = st.floats(0.01, 3600.0)


@given(now=NOWS, interval_s=INTERVALS)
def test_a_beat_is_never_later_than_the_interval_and_never_a_moment_early(now: float, interval_s: float) -> None:
    tolerance = 1e-7 * max(1.0, now)
    pause = pause_s(now, interval_s)
    assert interval_s * (1 - 1 / MOMENTS) - tolerance <= pause <= interval_s + tolerance


@given(starts=st.lists(st.floats(0.0, 5.0), min_size=2, max_size=50))
def test_agents_that_start_at_any_time_beat_at_shared_moments(starts: list[float]) -> None:
    beats = [start + pause_s(start, 5.0) for start in starts]
    for beat in beats:
        assert beat == pytest.approx(round(beat))


def test_beats_that_come_late_do_not_drift() -> None:
    now, beats = 3.3, []
    for _ in range(1_000):
        now += pause_s(now, 5.0)
        beats.append(now)
        now += 0.002
    assert all(after - before == pytest.approx(5.0) for before, after in pairwise(beats))
