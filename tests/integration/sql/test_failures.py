"""A database that cannot take part says so, with its path and the reason, and is used again when it can."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agent_manager.adapters.sql.rows import UnreadableRowError
from agent_manager.adapters.sql.sqlite import SqliteStore
from agent_manager.domain.errors import UnavailableError
from agent_manager.ports.store import Transaction
from tests.contract.store_values import agent, event
from tests.integration.sql.programs import running


def _append(t: Transaction) -> object:
    return t.append_event(event())


def _put_aside(database: Path, aside: Path, *, replaced: bool) -> None:
    database.rename(aside)
    if replaced:
        database.touch()


def _brought_back(aside: Path, database: Path) -> bool:
    """Whether something stood in its place."""
    stood = database.exists()
    aside.replace(database)
    return stood


def _overwrite_all_but_the_first_page(database: Path) -> None:
    content = database.read_bytes()
    database.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))


async def test_a_disk_that_is_full_refuses_writes_until_there_is_space(url: str, database: Path) -> None:
    async with running("full_disk", url) as process:
        output, _ = await process.communicate()
    said = json.loads(output)
    before, full, still_full, afterwards = said["answers"]
    assert (before, afterwards) == ("written", "written")
    assert str(database) in full
    assert "disk" in full
    assert still_full == full
    assert said["kept_while_full"] == 5
    async with SqliteStore(url) as store:
        assert len(await store.read(lambda t: t.events(0, 100))) == 10


async def test_a_lock_held_by_another_process_for_too_long_is_told_and_outlived(url: str, database: Path) -> None:
    async with SqliteStore(url, busy_timeout_s=0.05) as store:
        with closing(sqlite3.connect(database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(UnavailableError, match=rf"{database}.*locked.*another process"):
                await store.write(_append)
            assert list(await store.read(lambda t: t.events(0, 1))) == []
            other.execute("ROLLBACK")
        await store.write(_append)


@pytest.mark.parametrize("becomes", ["removed", "replaced"])
async def test_a_file_that_is_gone_takes_no_writes_and_is_told_until_it_is_back(
    url: str, database: Path, becomes: str
) -> None:
    aside = database.with_name("aside.db")
    async with SqliteStore(url) as store:
        await store.write(lambda transaction: transaction.save_agent(agent("kept")))
        _put_aside(database, aside, replaced=becomes == "replaced")
        for work in (store.write, store.read):
            with pytest.raises(UnavailableError, match=f"the file has been {becomes} while it was in use"):
                await work(lambda transaction: transaction.agents())
        assert _brought_back(aside, database) is (becomes == "replaced")
        assert [each.id for each in await store.read(lambda transaction: transaction.agents())] == ["kept"]
        await store.write(lambda transaction: transaction.save_agent(agent("more")))


async def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database\n" * 1000)
    with pytest.raises(UnavailableError, match=rf"{path}.*not a database"):
        await SqliteStore(f"sqlite:///{path}").open()


async def test_a_corrupt_page_is_told(url: str, database: Path) -> None:
    async with SqliteStore(url) as store:
        await store.write(lambda t: t.save_agent(agent()))
    _overwrite_all_but_the_first_page(database)
    with pytest.raises(UnavailableError, match=rf"{database}.*malformed"):
        async with SqliteStore(url) as store:
            await store.read(lambda t: t.agents())


async def test_a_directory_that_does_not_exist_is_told(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "store.db"
    with pytest.raises(UnavailableError, match=rf"{path}.*directory exists"):
        await SqliteStore(f"sqlite:///{path}").open()


async def test_a_store_that_is_not_open_says_so(url: str, database: Path) -> None:
    store = SqliteStore(url)

    async def refuses() -> None:
        for run in (store.write, store.read):
            with pytest.raises(UnavailableError, match=rf"{database} is not open"):
                await run(lambda t: t.events(0, 1))

    await refuses()
    async with store:
        await store.write(_append)
    await refuses()
    await store.close()


async def test_a_row_that_cannot_be_understood_is_told_with_its_key(url: str, database: Path) -> None:
    async with SqliteStore(url) as store:
        await store.write(lambda t: t.save_agent(agent()))
        with closing(sqlite3.connect(database)) as other, other:
            other.execute("UPDATE agents SET lifecycle = 'hibernating'")
        with pytest.raises(UnreadableRowError, match=r"agent echo .*hibernating.*newer version"):
            await store.read(lambda t: t.agents())
