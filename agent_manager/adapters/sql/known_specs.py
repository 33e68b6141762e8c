"""Specifications that have been read before: they are read again and again, and seldom change."""

from __future__ import annotations

import json

from agent_manager.adapters.codec import SPEC
from agent_manager.domain.specification import AgentSpec

REMEMBERED = 2_000
"""Packages whose specification is known. Of each it is the last one."""


class KnownSpecs:
    """What a text that a package had before says, without parsing it anew. Used by several threads."""

    def __init__(self) -> None:
        self._by_package: dict[tuple[str, str], tuple[str, AgentSpec]] = {}

    def read(self, node_id: str, package: str, text: str) -> AgentSpec:
        """The specification in `text`. Raises UnreadableError or ValueError."""
        known = self._by_package.get((node_id, package))
        if known is not None and known[0] == text:
            return known[1]
        spec = SPEC.decode(json.loads(text))
        if known is None and len(self._by_package) >= REMEMBERED:
            self._by_package.clear()
        self._by_package[node_id, package] = (text, spec)
        return spec
