"""Metrics an agent keeps of itself."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from agent_manager.sdk import DefinitionError
from agent_manager.sdk.metrics import MAX_METRICS, Metrics


def test_metrics_are_counted_and_set() -> None:
    metrics = Metrics()
    metrics.increment("documents")
    metrics.increment("documents", 2)
    metrics.set("queue.length", 7)
    metrics.set("queue.length", 5)
    assert metrics.read()[0] == {"documents": 3.0, "queue.length": 5.0}


def test_every_change_is_counted() -> None:
    metrics = Metrics()
    metrics.set("a", 1)
    metrics.set("a", 1)
    assert metrics.read()[1] == 2


def test_threads_lose_no_increment() -> None:
    metrics = Metrics()

    def count() -> None:
        for _ in range(2_000):
            metrics.increment("n")

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert metrics.read()[0] == {"n": 16_000}


@pytest.mark.parametrize("name", ["", "1st", "a b", "ü", "x" * 129])
def test_a_name_that_other_systems_could_not_take_is_refused(name: str) -> None:
    with pytest.raises(DefinitionError, match="must match"):
        Metrics().increment(name)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_refused_and_changes_nothing(value: Any) -> None:
    metrics = Metrics()
    metrics.set("a", 1)
    with pytest.raises(DefinitionError, match="finite"):
        metrics.increment("a", value)
    assert metrics.read() == ({"a": 1.0}, 1)


def test_the_number_of_names_is_bounded() -> None:
    metrics = Metrics()
    for number in range(MAX_METRICS):
        metrics.set(f"metric_{number}", number)
    metrics.set("metric_0", 5)
    with pytest.raises(DefinitionError, match="at most"):
        metrics.set("one_more", 1)
