"""The store's units of work are counted and timed, and pass through unchanged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent_manager.adapters.sql.sqlite import SqliteStore
from agent_manager.adapters.system import SystemClock
from agent_manager.domain.errors import ConflictError, UnavailableError
from agent_manager.ports.observation import Unobserved
from agent_manager.ports.store import Transaction
from agent_manager.services.store_watch import WatchedStore
from tests.harness.domain import agent


class Ledger(Unobserved):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.units: list[tuple[str, bool, bool]] = []

    def unit_ended(self, kind: str, *, available: bool, failed: bool, seconds: float) -> None:
        assert seconds >= 0
        self.units.append((kind, available, failed))


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
async def store(ledger: Ledger) -> AsyncIterator[WatchedStore]:
    watched = WatchedStore(SqliteStore("sqlite://"), SystemClock(), ledger, ledger)
    await watched.open()
    yield watched
    await watched.close()


async def test_what_works_is_done_and_counted(store: WatchedStore, ledger: Ledger) -> None:
    await store.write(lambda transaction: transaction.save_agent(agent()))
    found = await store.read(lambda transaction: transaction.agent("echo"))
    assert found == agent()
    assert ledger.units == [("write", True, False), ("read", True, False)]


async def test_a_unit_that_refuses_has_failed_on_a_store_that_is_there(store: WatchedStore, ledger: Ledger) -> None:
    def refusing(_: Transaction) -> None:
        raise ConflictError("not now")

    with pytest.raises(ConflictError):
        await store.write(refusing)
    assert ledger.units == [("write", True, True)]


async def test_who_asks_while_it_is_being_opened_waits_for_that(ledger: Ledger) -> None:
    store = WatchedStore(SqliteStore("sqlite://"), SystemClock(), ledger, ledger)
    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(store.read(lambda transaction: transaction.agents()))
        await asyncio.sleep(0)
        assert not asked.done()
        await store.open()
    assert asked.result() == []
    await store.close()


async def test_who_asks_a_store_that_could_not_be_opened_is_told_why_for_as_long_as_it_is_so(
    tmp_path: Path, ledger: Ledger
) -> None:
    file = tmp_path / "node.db"
    file.write_bytes(b"no database, but long enough to be read as one" * 100)
    store = WatchedStore(SqliteStore(f"sqlite:///{file}"), SystemClock(), ledger, ledger)
    with pytest.raises(UnavailableError) as opening:
        await store.open()
    for _ in range(2):
        with pytest.raises(UnavailableError) as asking:
            await store.read(lambda transaction: transaction.agents())
        assert asking.value.message == store.state.reason == opening.value.message
    assert "not open" not in opening.value.message
    assert ledger.units == [("read", False, True)] * 2


async def test_a_store_that_is_away_is_told_apart(ledger: Ledger) -> None:
    store = WatchedStore(SqliteStore("sqlite://"), SystemClock(), ledger, ledger)
    with pytest.raises(UnavailableError):
        await store.read(lambda transaction: transaction.agents())
    assert ledger.units == [("read", False, True)]
    assert not store.state.available
