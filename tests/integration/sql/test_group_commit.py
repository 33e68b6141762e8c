"""Batches of units: what they share, and what one of them can do to the others."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, func, insert, make_url, select
from sqlalchemy import event as engine_events

from agent_manager.adapters.sql import rows, sqlite_engine
from agent_manager.adapters.sql.group_commit import GroupCommit
from agent_manager.adapters.sql.outcome import Raised, Returned
from agent_manager.adapters.sql.tables import events, placements
from agent_manager.domain.errors import UnavailableError
from tests.contract.store_values import event
from tests.harness.waiting import eventually

Outcomes = list[Returned[int] | Raised]


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = sqlite_engine.writer(make_url(url), busy_timeout_s=1.0)
    yield engine
    engine.dispose()


@pytest.fixture
def commits(engine: Engine) -> list[Connection]:
    """Grows by one with every commit."""
    seen: list[Connection] = []
    engine_events.listen(engine, "commit", seen.append)
    return seen


@pytest.fixture
def group(engine: Engine) -> Iterator[GroupCommit]:
    group = GroupCommit(engine, max_batch=8, refuse=lambda error: UnavailableError(f"refused: {error}"))
    group.start()
    yield group
    group.stop()


def _append(connection: Connection, message: str = "appended") -> int:
    connection.execute(insert(events), rows.event_values(event(message)))
    return 1


def _count(connection: Connection) -> int:
    return connection.execute(select(func.count()).select_from(events)).scalar_one()


async def _together(group: GroupCommit, *works: Callable[[Connection], int]) -> Outcomes:
    """Run the units in one batch: a unit that does not end holds the thread until all of them wait."""
    entered, released = threading.Event(), threading.Event()

    def hold(_: Connection) -> None:
        entered.set()
        released.wait(timeout=60)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(group.submit(hold))
        await eventually(entered.is_set)
        waiting = [tasks.create_task(group.submit(work)) for work in works]
        await asyncio.sleep(0)
        released.set()
    return [task.result() for task in waiting]


async def test_units_that_wait_share_a_commit_up_to_the_limit(group: GroupCommit, commits: list[Connection]) -> None:
    outcomes = await _together(group, *[_append] * 20)
    assert outcomes == [Returned(1)] * 20
    assert len(commits) == 1 + 3


async def test_a_commit_that_fails_fails_every_unit_of_its_batch(group: GroupCommit) -> None:
    def break_commit(connection: Connection) -> int:
        connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        connection.execute(insert(placements).values(agent_id="nobody", ordinal=0, node_id="node-1", epoch=1))
        return 1

    def fail(connection: Connection) -> int:
        raise KeyError("of its own")

    outcomes = await _together(group, _append, break_commit, fail, _append)
    errors = [outcome.error for outcome in outcomes if isinstance(outcome, Raised)]
    assert [type(error) for error in errors] == [UnavailableError, UnavailableError, KeyError, UnavailableError]
    assert all("FOREIGN KEY" in str(error.__cause__) for error in errors if isinstance(error, UnavailableError))
    assert await group.submit(_count) == Returned(0)


async def test_no_unit_is_called_committed_when_the_transaction_was_lost_on_the_way(group: GroupCommit) -> None:
    def lose_transaction(connection: Connection) -> int:
        # As SQLite does by itself on some errors (https://www.sqlite.org/lang_transaction.html).
        connection.exec_driver_sql("ROLLBACK")
        return 1

    outcomes = await _together(group, _append, lose_transaction, _append)
    assert [isinstance(outcome, Raised) and type(outcome.error) for outcome in outcomes] == [UnavailableError] * 3
    assert await group.submit(_append) == Returned(1)
    assert await group.submit(_count) == Returned(1)


async def test_a_full_database_refuses_the_batch_says_why_and_goes_on_when_there_is_space(group: GroupCommit) -> None:
    def limit_pages(connection: Connection, pages: int) -> int:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        return 1

    large = partial(_append, message="x" * 500_000)
    outcomes = await _together(group, partial(limit_pages, pages=40), _append, large, _append)
    errors = [outcome.error for outcome in outcomes if isinstance(outcome, Raised)]
    assert [type(error) for error in errors] == [UnavailableError] * 4
    assert all("disk is full" in str(error) for error in errors)
    assert await _together(group, partial(limit_pages, pages=4000), large) == [Returned(1)] * 2
    assert await group.submit(_count) == Returned(1)


async def test_callers_that_are_cancelled_while_they_wait_leave_the_batch_alone(group: GroupCommit) -> None:
    async def cancelled(message: str) -> None:
        task = asyncio.create_task(group.submit(partial(_append, message=message)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    entered, released = threading.Event(), threading.Event()

    def hold(_: Connection) -> None:
        entered.set()
        released.wait(timeout=60)

    holding = asyncio.create_task(group.submit(hold))
    await eventually(entered.is_set)
    await cancelled("one")
    kept = asyncio.create_task(group.submit(_append))
    await cancelled("two")
    released.set()
    assert await holding == Returned(None)
    assert await kept == Returned(1)
    assert await group.submit(_append) == Returned(1)


async def test_stopping_commits_what_waits(engine: Engine) -> None:
    group = GroupCommit(engine, max_batch=8, refuse=lambda error: error)
    group.start()
    waiting = [asyncio.create_task(group.submit(_append)) for _ in range(30)]
    await asyncio.sleep(0)
    await asyncio.to_thread(group.stop)
    assert await asyncio.gather(*waiting) == [Returned(1)] * 30
    with engine.begin() as connection:
        assert _count(connection) == 30


def test_a_caller_whose_loop_is_closed_does_not_end_the_thread(group: GroupCommit) -> None:
    released = threading.Event()

    async def leave() -> None:
        waiting = asyncio.create_task(group.submit(lambda _: released.wait(timeout=60)))
        await asyncio.sleep(0)
        waiting.cancel()

    asyncio.run(leave())
    released.set()
    assert asyncio.run(group.submit(_append)) == Returned(1)


async def test_units_that_come_while_a_batch_waits_for_the_lock_in_vain_are_refused_with_it(
    group: GroupCommit, database: Path
) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        first = asyncio.create_task(group.submit(_append))
        await asyncio.sleep(0)
        await eventually(lambda: group._queue.empty())
        others = [asyncio.create_task(group.submit(_append)) for _ in range(20)]
        outcomes = await asyncio.gather(first, *others)
        assert {type(outcome.error) for outcome in outcomes if isinstance(outcome, Raised)} == {UnavailableError}
        assert len({str(outcome.error) for outcome in outcomes if isinstance(outcome, Raised)}) == 1
        other.execute("ROLLBACK")
    assert await group.submit(_count) == Returned(0)


async def test_stopping_while_the_lock_is_held_ends(engine: Engine, database: Path) -> None:
    group = GroupCommit(engine, max_batch=8, refuse=lambda error: UnavailableError(str(error)))
    group.start()
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = [asyncio.create_task(group.submit(_append)) for _ in range(3)]
        await asyncio.sleep(0)
        await asyncio.wait_for(asyncio.to_thread(group.stop), 60)
        assert all(isinstance(outcome, Raised) for outcome in await asyncio.gather(*waiting))
        other.execute("ROLLBACK")
