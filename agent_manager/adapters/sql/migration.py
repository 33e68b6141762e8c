"""Brings a database to this version's schema. Apart from `schema`, because Alembic is slow to import."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, delete, insert, make_url, text
from sqlalchemy.pool import NullPool

from agent_manager.adapters.sql import postgres_failures, schema, sqlite_engine, sqlite_failures
from agent_manager.adapters.sql.database_url import PostgresAddress, postgres_address
from agent_manager.adapters.sql.postgres_connections import Connector
from agent_manager.adapters.sql.schema import Schema
from agent_manager.adapters.sql.tables import compatibility
from agent_manager.domain.errors import UnavailableError

T = TypeVar("T")

CONNECT_TIMEOUT_S = 10.0
LOCK_TIMEOUT_S = 60.0
"""How long to wait for whoever is writing, such as another process that migrates."""

_MIGRATOR = 4_716_204_385_220_943
"""Which advisory lock whoever migrates holds; an arbitrary number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Migration:
    """What was done: `before` is None for a database that was empty; nothing was done when both are equal."""

    before: str | None
    after: str


def migrate(url: str) -> Migration:
    """Bring the database at `url` to this version's schema, in one transaction; a missing SQLite file is made.

    One that a newer version has migrated is left as it is, as long as this version can work with it. Not to be called
    where an event loop runs. Raises UnavailableError when it cannot be reached or written, or is too new.
    """
    return on_database(url, _upgrade)


def inspect_schema(url: str) -> Schema:
    """What the database at `url` says of its schema. Raises as `migrate`."""
    return on_database(url, schema.read)


def _upgrade(connection: Connection) -> Migration:
    before = schema.read(connection)
    if before.revision is not None and before.revision > schema.HEAD:
        schema.check(connection)
        return Migration(before=before.revision, after=before.revision)
    if before.revision is not None and schema.version_table(connection) != schema.VERSION_TABLE:
        connection.execute(text(f"ALTER TABLE {schema.FORMER_VERSION_TABLE} RENAME TO {schema.VERSION_TABLE}"))
    config = alembic_config(connection)
    command.upgrade(config, "head")
    _declare_compatibility(connection, config)
    return Migration(before=before.revision, after=schema.HEAD)


def _declare_compatibility(connection: Connection, config: Config) -> None:
    newest = ScriptDirectory.from_config(config).get_revision(schema.HEAD)
    connection.execute(delete(compatibility))
    connection.execute(insert(compatibility).values(oldest=newest.module.oldest_compatible))


def alembic_config(connection: Connection) -> Config:
    """Alembic's settings, for commands on an open connection that is inside a transaction."""
    config = Config()
    config.set_main_option("script_location", "agent_manager.adapters.sql:migrations")
    config.attributes["connection"] = connection
    return config


def on_database(url: str, work: Callable[[Connection], T]) -> T:
    address = postgres_address(url)
    if address is not None:
        return asyncio.run(_on_postgres(address, work))
    return _on_sqlite(url, work)


def _on_sqlite(url: str, work: Callable[[Connection], T]) -> T:
    target = make_url(url)
    database = target.database or ":memory:"
    engine = sqlite_engine.migrator(target, busy_timeout_s=LOCK_TIMEOUT_S)
    try:
        with sqlite_failures.told(database), _scripts_told(database), engine.begin() as connection:
            return work(connection)
    finally:
        engine.dispose()


async def _on_postgres(address: PostgresAddress, work: Callable[[Connection], T]) -> T:
    engine = Connector(address, CONNECT_TIMEOUT_S, statement_timeout_s=LOCK_TIMEOUT_S).engine(poolclass=NullPool)
    try:
        with postgres_failures.told(address.name), _scripts_told(address.name):
            async with engine.begin() as connection:
                # Two that migrate at the same time would each find nothing done, and fail on each other's tables.
                await connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATOR})"))
                return await connection.run_sync(work)
    finally:
        await engine.dispose()


@contextmanager
def _scripts_told(database: str) -> Iterator[None]:
    try:
        yield
    except CommandError as error:
        raise UnavailableError(
            f"the database {database} cannot be migrated to {schema.HEAD}: {error}; did a newer version migrate it?",
            detail={"database": database, "needed": schema.HEAD},
        ) from error
