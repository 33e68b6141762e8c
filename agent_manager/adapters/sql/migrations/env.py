"""Run by Alembic for every command, on the connection of `migration.alembic_config` and in its transaction."""

from __future__ import annotations

from alembic import context

from agent_manager.adapters.sql.schema import VERSION_TABLE

# Alembic believes that SQLite cannot undo a change of the schema. It can, once BEGIN is really sent.
context.configure(
    connection=context.config.attributes["connection"], version_table=VERSION_TABLE, transactional_ddl=True
)
with context.begin_transaction():
    context.run_migrations()
