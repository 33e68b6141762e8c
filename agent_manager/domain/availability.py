"""Availability: what the router and people read. Derived from intent and observation, never stored."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from agent_manager.domain.instances import InstanceStatus
from agent_manager.domain.lifecycle import Lifecycle


class Availability(StrEnum):
    """Whether an agent can be given work now."""

    REGISTERING = "registering"
    ACTIVE = "active"
    BUSY = "busy"
    DRAINING = "draining"
    OFFLINE = "offline"
    ERROR = "error"


def availability(lifecycle: Lifecycle, statuses: Collection[InstanceStatus], loads: Collection[float]) -> Availability:
    """Derive it. `loads` are those of the running instances, 0 (idle) to 1 (full); unknown ones are left out."""
    if lifecycle in (Lifecycle.CREATED, Lifecycle.INITIALIZING):
        return Availability.REGISTERING
    if lifecycle is Lifecycle.FAILED:
        return Availability.ERROR
    if InstanceStatus.RUNNING in statuses and lifecycle is Lifecycle.ACTIVE:
        full = loads and all(load >= 1.0 for load in loads)
        return Availability.BUSY if full else Availability.ACTIVE
    if InstanceStatus.RUNNING in statuses or InstanceStatus.STOPPING in statuses:
        return Availability.DRAINING
    if InstanceStatus.STARTING in statuses:
        return Availability.REGISTERING
    if InstanceStatus.ERROR in statuses or InstanceStatus.BACKOFF in statuses:
        return Availability.ERROR
    return Availability.OFFLINE
