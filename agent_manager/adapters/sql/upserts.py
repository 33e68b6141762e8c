"""Statements that insert or replace, by dialect. Each is made once; values are given at execution."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, TypeAlias

from sqlalchemy import Table, bindparam, select

from agent_manager.adapters.sql.tables import instances, placements

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

Insert: TypeAlias = "sqlite.Insert | postgresql.Insert"


@cache
def insert_or_replace(dialect: str, table: Table) -> Insert:
    """Insert a row, or replace all but the key of the row with the same primary key."""
    statement = _insert(dialect, table)
    return statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=_replaced(statement, table))


@cache
def insert_once(dialect: str, table: Table) -> Insert:
    """Insert a row; nothing happens when there is one with the same primary key. The row count says which."""
    return _insert(dialect, table).on_conflict_do_nothing(index_elements=list(table.primary_key))


@cache
def insert_observed(dialect: str) -> Insert:
    """Insert or replace an instance's row where its placement carries the epoch observed; the row count says whether.

    Parameters are named `observed_<column>`. One statement reads the placement and writes the row. Where a database has
    several writers, the epoch may be raised while it runs: a row that has a higher epoch already is left alone.
    """
    columns = list(instances.columns)
    observed = {column.name: bindparam(f"observed_{column.name}", type_=column.type) for column in columns}
    placed = select(*(observed[column.name].label(column.name) for column in columns)).where(
        *(placements.c[name] == observed[name] for name in ("agent_id", "ordinal", "epoch"))
    )
    statement = _insert(dialect, instances).from_select(columns, placed)
    return statement.on_conflict_do_update(
        index_elements=list(instances.primary_key),
        set_=_replaced(statement, instances),
        where=instances.c.epoch <= statement.excluded.epoch,
    )


def _insert(dialect: str, table: Table) -> Insert:
    # By name, as SQLAlchemy loads its own dialects: a manager on SQLite is spared PostgreSQL's 2 MB.
    insert: Insert = import_module(f"sqlalchemy.dialects.{dialect}").insert(table)
    # SQLAlchemy promises an INSERT's row count only where it is asked for.
    return insert.execution_options(preserve_rowcount=True)


def _replaced(statement: Insert, table: Table) -> dict[str, object]:
    return {column.name: statement.excluded[column.name] for column in table.columns if not column.primary_key}
