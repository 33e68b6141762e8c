"""Names held alone, where one process is the whole cluster."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class LocalHolds:
    """A lock for each name; nothing can take one away from its holder."""

    def __init__(self) -> None:
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[None]:
        """Be the only one in this process that holds `name`; waits until it is free."""
        async with self._locks[name]:
            yield
