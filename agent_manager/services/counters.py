"""Counters that instances report of themselves: the latest of each present launch."""

from __future__ import annotations

from collections.abc import Mapping

from agent_manager.domain.instances import Instance
from agent_manager.services.supervisor import Supervisor


class Counters:
    """Kept in memory; a new launch begins anew."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._latest: dict[str, tuple[str, Mapping[str, float]]] = {}

    def reported(self, instance_id: str, launch_id: str, counters: Mapping[str, float]) -> bool:
        """A launch has reported; False, and nothing kept, when it is not the present launch of its slot."""
        instance = self._supervisor.instance(instance_id)
        if instance is None or instance.launch is None or instance.launch.launch_id != launch_id:
            return False
        self._latest[instance_id] = (launch_id, counters)
        return True

    def forget(self, instance_id: str) -> None:
        """The instance is gone for good."""
        self._latest.pop(instance_id, None)

    def of(self, instance: Instance) -> Mapping[str, float]:
        """The latest counters of the instance's present launch; empty where there are none."""
        launch_id, counters = self._latest.get(instance.id, ("", {}))
        return counters if instance.launch is not None and instance.launch.launch_id == launch_id else {}
