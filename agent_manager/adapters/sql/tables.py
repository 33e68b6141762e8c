"""The tables, as this version reads and writes them. `migrations` holds the way there; a test keeps the two alike.

Moments are Unix seconds. Column names are the field names of the domain values they hold.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    TypeDecorator,
    text,
)
from sqlalchemy.types import TypeEngine

METADATA = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)
"""Every constraint has a name, so that a later migration can change it."""

DOCUMENT = JSON(none_as_null=True)
"""A JSON document; None is NULL."""


class Text(TypeDecorator[str]):
    """A string any database takes.

    What SQLite or PostgreSQL cannot hold (lone surrogates, as in a file name that is not UTF-8, and NUL) is written as
    an escape, so that a strangely named folder can be recorded at all. Both order strings by their bytes.
    """

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[str]:
        """Without a collation PostgreSQL orders as the database's language does."""
        return dialect.type_descriptor(String(collation="C" if dialect.name == "postgresql" else None))

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Escape on the way in."""
        if value is None:
            return None
        return value.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")


compatibility = Table("agent_manager_compatibility", METADATA, Column("oldest", String, nullable=False))
"""One row: the oldest revision whose programs can work with these tables."""

packages = Table(
    "packages",
    METADATA,
    Column("node_id", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("path", Text, nullable=False),
    Column("agent_id", Text),
    Column("status", Text, nullable=False),
    Column("updated_at", Float, nullable=False),
    Column("spec", DOCUMENT),
    Column("digest", Text),
    Column("faults", DOCUMENT, nullable=False),
)

agents = Table(
    "agents",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("package", Text, nullable=False),
    Column("node_id", Text, nullable=False),
    Column("spec", DOCUMENT, nullable=False),
    Column("lifecycle", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    Column("available", Boolean, nullable=False),
    Column("replicas", Integer, nullable=False),
    Column("config", DOCUMENT, nullable=False),
    Column("start_serial", Integer, nullable=False),
    Column("restart_serial", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
)

placements = Table(
    "placements",
    METADATA,
    Column("agent_id", Text, ForeignKey("agents.id", ondelete="CASCADE"), primary_key=True),
    Column("ordinal", Integer, primary_key=True, autoincrement=False),
    Column("node_id", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
)
"""Where each instance may run; what a node writes of an instance counts only with the epoch that stands here."""

instances = Table(
    "instances",
    METADATA,
    Column("agent_id", Text, ForeignKey("agents.id", ondelete="CASCADE"), primary_key=True),
    Column("ordinal", Integer, primary_key=True, autoincrement=False),
    Column("node_id", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("launch_id", Text),
    Column("pid", Integer),
    Column("incarnation", Integer, nullable=False),
    Column("restarts", Integer, nullable=False),
    Column("started_at", Float),
    Column("last_heartbeat", Float),
    Column("data", DOCUMENT, nullable=False),
)
"""Instances as last observed. `data` is the whole value; the other columns are taken from it, for queries by SQL."""

exits = Table(
    "exits",
    METADATA,
    Column("launch_id", Text, primary_key=True),
    Column("agent_id", Text, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("node_id", Text, nullable=False),
    Column("incarnation", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("data", DOCUMENT, nullable=False),
    Index(None, "agent_id", "at"),
)
"""One row per ended launch. It refers to no other table: the record outlives its agent."""

events = Table(
    "events",
    METADATA,
    Column("sequence", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("number", BigInteger),
    Column("type", Text, nullable=False),
    Column("agent_id", Text, nullable=False),
    Column("instance_id", Text),
    Column("at", Float, nullable=False),
    Column("message", Text, nullable=False),
    Column("actor", Text),
    Column("data", DOCUMENT, nullable=False),
    Index("ix_events_number", "number", unique=True),
    # PostgreSQL's tables are made by migrations alone; to name its option here would load its dialect everywhere.
    Index("ix_events_unpublished", "sequence", sqlite_where=text("number IS NULL")),
    # Without it SQLite gives the number of a deleted last row again.
    sqlite_autoincrement=True,
)
"""The history. It refers to no other table: history outlives what it tells of.

`sequence` tells rows apart; with several writers a lower one may be committed after a higher one. `number` is the place
in the published order, given by the one publisher.
"""
