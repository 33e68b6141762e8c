"""Readers beside the writer, and the end of a store that is in use."""

from __future__ import annotations

import asyncio
import threading

from agent_manager.adapters.sql.sqlite import SqliteStore
from agent_manager.ports.store import Transaction
from tests.contract.store_values import event
from tests.harness.waiting import eventually


def _append(t: Transaction) -> object:
    return t.append_event(event())


def _count(t: Transaction) -> int:
    return len(t.events(0, 10_000))


async def test_a_read_keeps_its_snapshot_while_others_commit(url: str) -> None:
    looked, written = threading.Event(), threading.Event()

    def look_twice(t: Transaction) -> tuple[int, int]:
        first = _count(t)
        looked.set()
        written.wait(timeout=60)
        return first, _count(t)

    async with SqliteStore(url) as store:
        await store.write(_append)
        reading = asyncio.create_task(store.read(look_twice))
        await eventually(looked.is_set)
        await store.write(_append)
        assert await store.read(_count) == 2
        written.set()
        assert await reading == (1, 1)


async def test_reads_go_on_at_the_same_time(url: str) -> None:
    meeting = threading.Barrier(3)

    def meet(t: Transaction) -> int:
        meeting.wait(timeout=60)
        return _count(t)

    async with SqliteStore(url, readers=3) as store:
        assert await asyncio.gather(*(store.read(meet) for _ in range(3))) == [0, 0, 0]


async def test_reads_and_writes_from_many_callers_all_come_to_their_end(url: str) -> None:
    async def read_growing(store: SqliteStore) -> bool:
        counts = [await store.read(_count) for _ in range(40)]
        return counts == sorted(counts)

    async with SqliteStore(url) as store, asyncio.TaskGroup() as group:
        readers = [group.create_task(read_growing(store)) for _ in range(8)]
        for _ in range(200):
            group.create_task(store.write(_append))
    assert all(reader.result() for reader in readers)


async def test_closing_waits_for_what_was_asked_before(url: str) -> None:
    store = SqliteStore(url, max_batch=4)
    await store.open()
    writes = [asyncio.create_task(store.write(_append)) for _ in range(50)]
    reads = [asyncio.create_task(store.read(_count)) for _ in range(20)]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*writes, *reads)
    async with SqliteStore(url) as again:
        assert await again.read(_count) == 50
