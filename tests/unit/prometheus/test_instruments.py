"""What is observed is counted, once, in a bounded number of series."""

from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from agent_manager.adapters.prometheus.instruments import Instruments
from agent_manager.domain.exits import Exit, ExitReason
from agent_manager.domain.instances import Instance, Target
from tests.harness.domain import SPEC

INSTANCE = Instance(agent_id="echo", ordinal=0, target=Target(run=True, spec=SPEC))


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def instruments(registry: CollectorRegistry) -> Instruments:
    return Instruments(registry)


def ended(launch_id: str, reason: ExitReason) -> Instance:
    last = Exit(launch_id=launch_id, incarnation=1, reason=reason, message="it ended", at=1.0)
    return replace(INSTANCE, last_exit=last)


def exits(registry: CollectorRegistry, reason: ExitReason) -> float | None:
    return registry.get_sample_value("agent_manager_exits_total", {"reason": reason.value})


def test_an_exit_that_is_told_twice_is_one(instruments: Instruments, registry: CollectorRegistry) -> None:
    crashed = ended("launch1", ExitReason.CRASH)
    instruments.instance_changed(INSTANCE, crashed)
    instruments.instance_changed(crashed, replace(crashed, reason="its last lines are known"))
    assert exits(registry, ExitReason.CRASH) == 1
    instruments.instance_changed(crashed, ended("launch2", ExitReason.WATCHDOG))
    assert exits(registry, ExitReason.CRASH) == 1
    assert exits(registry, ExitReason.WATCHDOG) == 1


def test_every_reason_is_there_before_its_first_exit(instruments: Instruments, registry: CollectorRegistry) -> None:
    assert {exits(registry, reason) for reason in ExitReason} == {0.0}


def test_records_removed_are_counted_by_table(instruments: Instruments, registry: CollectorRegistry) -> None:
    def removed(table: str) -> float | None:
        return registry.get_sample_value("agent_manager_records_removed_total", {"table": table})

    assert (removed("events"), removed("exits")) == (0.0, 0.0)
    instruments.records_removed("events", 7)
    assert (removed("events"), removed("exits")) == (7.0, 0.0)


def test_restarts_are_counted_and_a_forgiven_history_takes_none_back(
    instruments: Instruments, registry: CollectorRegistry
) -> None:
    instruments.instance_changed(INSTANCE, replace(INSTANCE, restarts=1))
    instruments.instance_changed(replace(INSTANCE, restarts=1), INSTANCE)
    assert registry.get_sample_value("agent_manager_restarts_total") == 1


def test_requests_are_counted_by_operation_and_outcome(instruments: Instruments, registry: CollectorRegistry) -> None:
    instruments.request_begun()
    assert registry.get_sample_value("agent_manager_requests_in_progress") == 1
    instruments.request_answered("agents.start", "conflict", 0.02)
    assert registry.get_sample_value("agent_manager_requests_in_progress") == 0
    labels = {"operation": "agents.start", "outcome": "conflict"}
    name = "agent_manager_request_duration_seconds"
    assert registry.get_sample_value(f"{name}_count", labels) == 1
    assert registry.get_sample_value(f"{name}_bucket", {**labels, "le": "0.01"}) == 0
    assert registry.get_sample_value(f"{name}_bucket", {**labels, "le": "0.025"}) == 1


def test_nobody_outside_makes_new_series(instruments: Instruments, registry: CollectorRegistry) -> None:
    for number in range(100):
        instruments.request_begun()
        instruments.request_answered(f"invented-{number}", f"code-{number}", 0.0)
    labels = {"operation": "other", "outcome": "other"}
    assert registry.get_sample_value("agent_manager_request_duration_seconds_count", labels) == 100


def test_the_store_is_available_as_its_last_unit_says(instruments: Instruments, registry: CollectorRegistry) -> None:
    def value() -> float | None:
        return registry.get_sample_value("agent_manager_store_available")

    assert value() == 0
    instruments.unit_ended("read", available=True, failed=False, seconds=0.001)
    assert value() == 1
    instruments.unit_ended("write", available=False, failed=True, seconds=0.001)
    assert value() == 0
    instruments.unit_ended("write", available=True, failed=True, seconds=0.001)
    assert value() == 1, "what refuses a command is there"
    assert registry.get_sample_value("agent_manager_store_errors_total", {"kind": "write"}) == 2


def test_the_first_connection_is_no_reconnection(instruments: Instruments, registry: CollectorRegistry) -> None:
    instruments.bus_connected()
    assert registry.get_sample_value("agent_manager_bus_reconnects_total") == 0
    instruments.bus_connected()
    assert registry.get_sample_value("agent_manager_bus_reconnects_total") == 1
