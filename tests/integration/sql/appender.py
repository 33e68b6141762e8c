"""A process that appends events until it is killed, or `count` for each writer, and prints what was acknowledged.

Usage: appender.py URL WRITERS [COUNT]
"""

from __future__ import annotations

import asyncio
import itertools
import sys

from agent_manager.adapters.sql.sqlite import SqliteStore
from tests.contract.store_values import event


async def append(store: SqliteStore, count: int | None) -> None:
    for _ in itertools.count() if count is None else range(count):
        added = await store.write(lambda t: t.append_event(event()))
        sys.stdout.write(f"{added.sequence}\n")
        sys.stdout.flush()


async def main(url: str, writers: int, count: int | None) -> None:
    async with SqliteStore(url, busy_timeout_s=60.0) as store, asyncio.TaskGroup() as group:
        for _ in range(writers):
            group.create_task(append(store, count))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else None))
