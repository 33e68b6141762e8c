"""Programs and schemas of different versions, on either database."""

from __future__ import annotations

import asyncio
import threading

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, delete, insert, text

from agent_manager.adapters.sql import migration, schema
from agent_manager.adapters.sql.migration import Migration, alembic_config, inspect_schema, migrate
from agent_manager.adapters.sql.opening import store_at
from agent_manager.adapters.sql.schema import Schema, SchemaError
from agent_manager.adapters.sql.tables import compatibility
from agent_manager.domain.errors import UnavailableError
from tests.contract.store_values import agent, event
from tests.harness.waiting import eventually


async def _migrated_by_another_version(url: str, revision: str, oldest: str | None) -> None:
    def work(connection: Connection) -> None:
        connection.execute(text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '{revision}'"))
        connection.execute(delete(compatibility))
        if oldest is not None:
            connection.execute(insert(compatibility).values(oldest=oldest))

    await asyncio.to_thread(migration.on_database, url, work)


async def _tables(url: str) -> set[str]:
    def work(connection: Connection) -> set[str]:
        query = (
            "SELECT name FROM sqlite_master WHERE type = 'table'"
            if connection.dialect.name == "sqlite"
            else "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        )
        return set(connection.execute(text(query)).scalars())

    return await asyncio.to_thread(migration.on_database, url, work)


async def test_migrating_says_what_it_did_and_does_nothing_twice(empty_url: str) -> None:
    assert await asyncio.to_thread(inspect_schema, empty_url) == Schema(revision=None, oldest=None)
    assert await asyncio.to_thread(migrate, empty_url) == Migration(before=None, after=schema.HEAD)
    assert await asyncio.to_thread(migrate, empty_url) == Migration(before=schema.HEAD, after=schema.HEAD)


async def test_those_who_migrate_at_the_same_time_take_turns(empty_url: str) -> None:
    done = await asyncio.gather(*(asyncio.to_thread(migrate, empty_url) for _ in range(4)))
    assert sorted(migration.before or "" for migration in done) == ["", schema.HEAD, schema.HEAD, schema.HEAD]


async def test_an_older_program_works_on_beside_a_newer_one(any_url: str) -> None:
    await _migrated_by_another_version(any_url, "9999", oldest=schema.HEAD)
    store = store_at(any_url)
    await store.open()
    await store.write(lambda t: t.save_agent(agent()))
    assert await store.read(lambda t: t.agent("echo")) == agent()
    await store.close()
    assert await asyncio.to_thread(migrate, any_url) == Migration(before="9999", after="9999")


@pytest.mark.parametrize("oldest", ["9998", None])
async def test_a_program_that_is_too_old_says_so_and_opens_nothing(any_url: str, oldest: str | None) -> None:
    await _migrated_by_another_version(any_url, "9999", oldest)
    words = f"at 9999, this version needs {schema.HEAD}: a newer version .*older than schema {oldest or 9999} "
    with pytest.raises(SchemaError, match=words):
        await store_at(any_url).open()
    with pytest.raises(SchemaError, match=words):
        await asyncio.to_thread(migrate, any_url)


async def test_a_program_that_becomes_too_old_while_it_runs_touches_nothing_any_more(postgres_url: str) -> None:
    store = store_at(postgres_url)
    await store.open()
    await store.write(lambda t: t.append_event(event()))
    await _migrated_by_another_version(postgres_url, "9999", oldest="9999")

    async def refused() -> bool:
        try:
            await store.write(lambda t: t.append_event(event()))
        except SchemaError:
            return True
        return False

    await eventually(refused)
    assert await refused()
    await _migrated_by_another_version(postgres_url, schema.HEAD, oldest=schema.HEAD)
    await store.write(lambda t: t.append_event(event()))
    await store.close()


async def test_a_table_that_a_newer_version_has_dropped_is_told_as_that(postgres_url: str) -> None:
    store = store_at(postgres_url)
    await store.open()
    await _migrated_by_another_version(postgres_url, "9999", oldest="9999")
    await asyncio.to_thread(migration.on_database, postgres_url, lambda c: c.execute(text("DROP TABLE exits")))
    with pytest.raises(SchemaError, match="at 9999"):
        await store.read(lambda t: t.exits("echo", 1))
    await store.close()


@pytest.mark.parametrize("found", ["0000", "0001"])
async def test_a_schema_that_is_too_old_is_refused_with_the_way_out(any_url: str, found: str) -> None:
    await _migrated_by_another_version(any_url, found, oldest="0000")
    with pytest.raises(SchemaError, match=f"at {found}, this version needs {schema.HEAD}: migrate it with"):
        await store_at(any_url).open()


async def test_a_database_that_was_never_migrated_is_refused_with_the_way_out(empty_url: str) -> None:
    words = f"at nothing, this version needs {schema.HEAD}: migrate it with `agent-manager migrate`"
    with pytest.raises(SchemaError, match=words):
        await store_at(empty_url).open()
    assert await _tables(empty_url) == set()


async def test_a_database_migrated_under_the_former_name_of_the_version_table_is_migrated_on(any_url: str) -> None:
    def back(connection: Connection) -> None:
        connection.execute(text(f"ALTER TABLE {schema.VERSION_TABLE} RENAME TO {schema.FORMER_VERSION_TABLE}"))

    await asyncio.to_thread(migration.on_database, any_url, back)
    assert (await asyncio.to_thread(inspect_schema, any_url)).revision == schema.HEAD
    assert await asyncio.to_thread(migrate, any_url) == Migration(before=schema.HEAD, after=schema.HEAD)
    assert schema.FORMER_VERSION_TABLE not in await _tables(any_url)


async def test_the_version_table_of_another_program_is_left_alone(empty_url: str) -> None:
    def foreign(connection: Connection) -> None:
        connection.execute(text(f"CREATE TABLE {schema.FORMER_VERSION_TABLE} (version_num VARCHAR(32))"))
        connection.execute(text(f"INSERT INTO {schema.FORMER_VERSION_TABLE} VALUES ('theirs')"))

    await asyncio.to_thread(migration.on_database, empty_url, foreign)
    assert await asyncio.to_thread(migrate, empty_url) == Migration(before=None, after=schema.HEAD)
    assert await _tables(empty_url) >= {schema.FORMER_VERSION_TABLE, schema.VERSION_TABLE}


async def test_every_revision_says_which_programs_can_work_with_it_and_none_takes_it_back(url: str) -> None:
    def declared(connection: Connection) -> list[tuple[str, str]]:
        scripts = ScriptDirectory.from_config(alembic_config(connection)).walk_revisions()
        return [(script.revision, script.module.oldest_compatible) for script in scripts]

    newest_first = await asyncio.to_thread(migration.on_database, url, declared)
    assert all(oldest <= revision for revision, oldest in newest_first)
    assert [oldest for _, oldest in newest_first] == sorted((oldest for _, oldest in newest_first), reverse=True)


def test_whoever_waits_for_a_migration_is_not_kept_for_ever(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migration, "LOCK_TIMEOUT_S", 0.05)
    held, released = threading.Event(), threading.Event()

    def hold(_: Connection) -> None:
        held.set()
        released.wait(60)

    other = threading.Thread(target=migration.on_database, args=(url, hold))
    other.start()
    held.wait(60)
    try:
        with pytest.raises(UnavailableError, match="locked"):
            migrate(url)
    finally:
        released.set()
        other.join()
