"""What `top` makes of two looks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from agent_manager.cli.ctl.samples import Order, Sample, SortKey, rates, silence_s, uptime_s
from agent_manager.protocol.resources import InstanceSample, UsageView
from tests.harness.fake_manager import AT, sample


def used(instance_id: str, cpu_s: float, *, after_s: float = 0.0, **changes: Any) -> InstanceSample:
    process = UsageView(processes=1, rss_bytes=int(1000 * cpu_s), cpu_s=cpu_s, threads=1, open_files=1)
    return sample(instance_id, process=process, measured_at=AT + timedelta(seconds=after_s), **changes)


def test_processor_time_over_the_time_between_two_looks() -> None:
    assert rates([used("a_0", 1.0)], [used("a_0", 4.0, after_s=2.0)]) == {"a_0": 1.5}


@pytest.mark.parametrize(
    "later",
    [
        used("a_0", 4.0, after_s=2.0, incarnation=2),
        used("b_0", 4.0, after_s=2.0),
        used("a_0", 4.0),
        sample("a_0", process=None),
    ],
    ids=["another process", "another instance", "the same moment", "no process"],
)
def test_nothing_is_said_where_two_looks_do_not_compare(later: InstanceSample) -> None:
    assert rates([used("a_0", 1.0)], [later]) == {}


def ordered(order: Order) -> list[str]:
    instances = [
        used("a_10", 1.0, restarts=5, started_at=AT - timedelta(seconds=9)),
        used("a_2", 3.0, restarts=0, last_heartbeat=AT - timedelta(seconds=60)),
        sample("b_0", status="error", pid=None, process=None, restarts=7),
    ]
    return [one.id for one in order.of(Sample([], instances, {"a_10": 0.1, "a_2": 0.9}))]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (SortKey.NAME, ["a_2", "a_10", "b_0"]),
        (SortKey.STATUS, ["b_0", "a_2", "a_10"]),
        (SortKey.CPU, ["a_2", "a_10", "b_0"]),
        (SortKey.MEMORY, ["a_2", "a_10", "b_0"]),
        (SortKey.RESTARTS, ["b_0", "a_10", "a_2"]),
        (SortKey.UPTIME, ["a_10", "a_2", "b_0"]),
        (SortKey.HEARTBEAT, ["a_2", "a_10", "b_0"]),
    ],
)
def test_the_largest_figures_and_the_first_words_come_first(key: SortKey, expected: list[str]) -> None:
    assert ordered(Order(key)) == expected


def test_reversed_what_is_not_known_still_comes_last() -> None:
    assert ordered(Order(SortKey.CPU, True)) == ["a_10", "a_2", "b_0"]
    assert ordered(Order(SortKey.NAME, True)) == ["b_0", "a_10", "a_2"]


def test_choosing_an_order_again_turns_it_round() -> None:
    chosen = Order(SortKey.CPU).chosen(SortKey.MEMORY)
    assert (chosen, chosen.chosen(SortKey.MEMORY)) == (Order(SortKey.MEMORY), Order(SortKey.MEMORY, True))


def test_ages_are_those_of_the_moment_of_the_sample() -> None:
    assert (uptime_s(sample()), silence_s(sample())) == (7.0, 7.0)
    ended = sample(pid=None)
    assert (uptime_s(ended), silence_s(ended)) == (None, None)
