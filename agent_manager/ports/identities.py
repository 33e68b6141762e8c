"""Identities on the bus: one per launch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class LaunchName:
    """Which launch of which instance of which agent."""

    agent_id: str
    instance_id: str
    launch_id: str


class Identities(Protocol):
    """Makes and destroys the credentials of launches."""

    def issue(self, agent_id: str, instance_id: str, launch_id: str) -> str:
        """Make the launch's user; returns the path of its credentials file (0600). Raises OSError when that fails.

        The path is empty where launches have no users of their own.
        """
        ...

    def renew(self, launches: Iterable[LaunchName]) -> None:
        """Replace the credentials that have lived half of their life: those of `launches`, and those of programs.

        Raises OSError for the last one that could not be written, after all others.
        """
        ...

    def destroy(self, launch_id: str) -> None:
        """Destroy the launch's seed; nothing happens when there is none."""
        ...

    def keep_only(self, launch_ids: frozenset[str]) -> None:
        """Destroy what belongs to any other launch (left by a manager that was killed)."""
        ...
