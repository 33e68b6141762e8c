"""Brings a database to this version's schema. Apart from `schema`, because Alembic is slow to import."""

from __future__ import annotations

from dataclasses import dataclass

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, make_url

from agent_manager.adapters.sql import schema, sqlite_engine, sqlite_failures
from agent_manager.domain.errors import UnavailableError

LOCK_TIMEOUT_S = 30.0
"""How long to wait for whoever is writing, such as another process that migrates."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Migration:
    """What was done: `before` is None for a database that was empty; nothing was done when both are equal."""

    before: str | None
    after: str


def migrate(url: str) -> Migration:
    """Bring the database at `url` to this version's schema, in one transaction; a missing file is made.

    Raises UnavailableError when it cannot be reached or written, or was migrated by a newer version.
    """
    target = make_url(url)
    database = target.database or ":memory:"
    engine = sqlite_engine.migrator(target, busy_timeout_s=LOCK_TIMEOUT_S)
    try:
        with sqlite_failures.told(database), engine.begin() as connection:
            before = schema.revision(connection)
            command.upgrade(alembic_config(connection), "head")
            return Migration(before=before, after=schema.HEAD)
    except CommandError as error:
        raise UnavailableError(
            f"the database {database} cannot be migrated to {schema.HEAD}: {error}; did a newer version migrate it?",
            detail={"database": database, "needed": schema.HEAD},
        ) from error
    finally:
        engine.dispose()


def alembic_config(connection: Connection) -> Config:
    """Alembic's settings, for commands on an open connection that is inside a transaction."""
    config = Config()
    config.set_main_option("script_location", "agent_manager.adapters.sql:migrations")
    config.attributes["connection"] = connection
    return config
