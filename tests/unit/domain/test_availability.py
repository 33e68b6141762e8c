"""Availability, derived from intent and observation."""

from __future__ import annotations

import pytest

from agent_manager.domain.availability import Availability, availability
from agent_manager.domain.instances import InstanceStatus as Status
from agent_manager.domain.lifecycle import Lifecycle


@pytest.mark.parametrize(
    ("lifecycle", "statuses", "loads", "expected"),
    [
        (Lifecycle.CREATED, [], [], Availability.REGISTERING),
        (Lifecycle.INITIALIZING, [], [], Availability.REGISTERING),
        (Lifecycle.FAILED, [], [], Availability.ERROR),
        (Lifecycle.READY, [], [], Availability.OFFLINE),
        (Lifecycle.READY, [Status.STOPPED], [], Availability.OFFLINE),
        (Lifecycle.READY, [Status.STOPPING], [], Availability.DRAINING),
        (Lifecycle.ACTIVE, [Status.STARTING], [], Availability.REGISTERING),
        (Lifecycle.ACTIVE, [Status.RUNNING], [], Availability.ACTIVE),
        (Lifecycle.ACTIVE, [Status.RUNNING], [0.4], Availability.ACTIVE),
        (Lifecycle.ACTIVE, [Status.RUNNING], [1.0], Availability.BUSY),
        (Lifecycle.ACTIVE, [Status.RUNNING, Status.RUNNING], [1.0, 0.2], Availability.ACTIVE),
        (Lifecycle.ACTIVE, [Status.ERROR, Status.RUNNING], [], Availability.ACTIVE),
        (Lifecycle.ACTIVE, [Status.ERROR], [], Availability.ERROR),
        (Lifecycle.ACTIVE, [Status.BACKOFF], [], Availability.ERROR),
        (Lifecycle.ACTIVE, [Status.INACTIVE], [], Availability.OFFLINE),
        (Lifecycle.ACTIVE, [Status.STOPPED], [], Availability.OFFLINE),
        (Lifecycle.PAUSED, [Status.RUNNING], [], Availability.DRAINING),
        (Lifecycle.TERMINATED, [], [], Availability.OFFLINE),
    ],
)
def test_it_follows_from_lifecycle_statuses_and_loads(
    lifecycle: Lifecycle, statuses: list[Status], loads: list[float], expected: Availability
) -> None:
    assert availability(lifecycle, statuses, loads) is expected
