"""Identities on the bus: one per launch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class LaunchName:
    """Which launch of which instance of which agent, and the user it runs as, if not the manager's."""

    agent_id: str
    instance_id: str
    launch_id: str
    run_as: str | None = None


class Identities(Protocol):
    """Makes and destroys the credentials of launches."""

    def issue(self, launch: LaunchName) -> str:
        """Make the launch's user; returns the path of its credentials file, which only whoever it runs as may read.

        Raises OSError when that fails, ValueError where the machine has no such user.
        The path is empty where launches have no users of their own.
        """
        ...

    def renew(self, launches: Iterable[LaunchName]) -> None:
        """Replace the credentials that have lived half of their life: those of `launches`, and those of programs.

        Raises OSError or ValueError for the last one that could not be made, after all others.
        """
        ...

    def destroy(self, launch_id: str) -> None:
        """Destroy the launch's seed; nothing happens when there is none."""
        ...

    def keep_only(self, launch_ids: frozenset[str]) -> None:
        """Destroy what belongs to any other launch (left by a manager that was killed)."""
        ...
