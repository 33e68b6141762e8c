"""Identities on the bus: one per launch."""

from __future__ import annotations

from typing import Protocol


class Identities(Protocol):
    """Makes and destroys the credentials of launches."""

    def issue(self, agent_id: str, instance_id: str, launch_id: str) -> str:
        """Make the launch's user; returns the path of its credentials file (0600). Raises OSError when that fails."""
        ...

    def destroy(self, launch_id: str) -> None:
        """Destroy the launch's seed; nothing happens when there is none."""
        ...

    def keep_only(self, launch_ids: frozenset[str]) -> None:
        """Destroy what belongs to any other launch (left by a manager that was killed)."""
        ...
