"""The schema: its migrations, and the check at every start."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, make_url

from agent_manager.adapters.sql import schema, sqlite_engine
from agent_manager.adapters.sql.migration import Migration, alembic_config, migrate
from agent_manager.adapters.sql.sqlite import SqliteStore
from agent_manager.adapters.sql.tables import METADATA
from agent_manager.domain.errors import UnavailableError
from tests.contract.store_values import event


def test_the_head_a_manager_expects_is_that_of_the_migrations(url: str) -> None:
    engine = sqlite_engine.migrator(make_url(url), busy_timeout_s=1.0)
    with engine.begin() as connection:
        scripts = ScriptDirectory.from_config(alembic_config(connection))
    engine.dispose()
    assert scripts.get_heads() == [schema.HEAD]


def test_a_migrated_database_has_the_tables_this_version_reads_and_writes(url: str) -> None:
    engine = sqlite_engine.migrator(make_url(url), busy_timeout_s=1.0)
    with engine.begin() as connection:
        options = {"compare_type": True, "compare_server_default": True, "version_table": schema.VERSION_TABLE}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, METADATA) == []
    engine.dispose()


def test_a_migrated_database_has_the_constraints_this_version_expects(url: str) -> None:
    # What the comparison above does not look at: keys, their names, what follows a deletion, numbers never given again.
    migrated = sqlite_engine.migrator(make_url(url), busy_timeout_s=1.0)
    expected = sqlite_engine.migrator(make_url("sqlite://"), busy_timeout_s=1.0)
    with migrated.begin() as here, expected.begin() as there:
        METADATA.create_all(there)
        for table in METADATA.tables:
            for look in ("get_pk_constraint", "get_foreign_keys", "get_indexes", "get_unique_constraints"):
                made, wanted = (json.dumps(getattr(inspect(one), look)(table), default=str) for one in (here, there))
                assert made == wanted
        assert (
            "AUTOINCREMENT" in here.exec_driver_sql("SELECT sql FROM sqlite_master WHERE name = 'events'").scalar_one()
        )
    migrated.dispose()
    expected.dispose()


def test_the_schema_can_be_taken_back_and_made_again(url: str) -> None:
    engine = sqlite_engine.migrator(make_url(url), busy_timeout_s=1.0)
    with engine.begin() as connection:
        command.downgrade(alembic_config(connection), "base")
    with engine.begin() as connection:
        assert set(inspect(connection).get_table_names()) == {schema.VERSION_TABLE}
        assert schema.read(connection).revision is None
    engine.dispose()
    assert migrate(url) == Migration(before=None, after=schema.HEAD)


async def test_migrating_keeps_what_is_there(url: str) -> None:
    async with SqliteStore(url) as store:
        added = await store.write(lambda t: t.append_event(event()))
    migrate(url)
    async with SqliteStore(url) as store:
        assert list(await store.read(lambda t: t.events(0, 10))) == [added]


def test_a_file_that_is_no_database_is_not_migrated(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database\n" * 1000)
    with pytest.raises(UnavailableError, match=rf"{path}.*not a database"):
        migrate(f"sqlite:///{path}")


@pytest.mark.parametrize("unwanted", ["alembic", "asyncpg", "sqlalchemy.dialects.postgresql"])
def test_a_manager_on_sqlite_starts_without_what_others_need(unwanted: str) -> None:
    program = f"import sys, agent_manager.bootstrap; sys.exit({unwanted!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
