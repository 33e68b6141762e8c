"""Where packages come from."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from agent_manager.domain.agents import ManifestFault
from agent_manager.domain.specification import AgentSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundPackage:
    """A folder as found: `spec` when its manifest is valid, else `faults` that say what is wrong and where."""

    name: str
    path: str
    spec: AgentSpec | None
    faults: tuple[ManifestFault, ...] = ()


class PackageSource(Protocol):
    """A place with package folders."""

    async def scan(self) -> tuple[FoundPackage, ...]:
        """Every package there is now, ordered by name. Never raises for what is inside a folder.

        Raises UnavailableError when the place itself cannot be read, which is not the same as having no packages.
        """
        ...

    def changes(self) -> AsyncIterator[None]:
        """Yields whenever something may have changed; several changes at once yield once."""
        ...
