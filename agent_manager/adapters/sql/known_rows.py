"""Rows that have been read before: they are read again and again, and seldom change."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")

REMEMBERED = 6_000
"""So many values are known, the last one of each name."""


class KnownRows:
    """What a row said when it held the same, without parsing it anew. Used by several threads."""

    def __init__(self) -> None:
        self._by_name: dict[Hashable, tuple[object, Any]] = {}

    def read(self, name: Hashable, content: object, parse: Callable[[], T]) -> T:
        """The value, immutable, that `content` stands for under this name. What `parse` raises passes through."""
        known = self._by_name.get(name)
        if known is not None and known[0] == content:
            found: T = known[1]
            return found
        value = parse()
        if known is None and len(self._by_name) >= REMEMBERED:
            self._by_name.clear()
        self._by_name[name] = (content, value)
        return value
