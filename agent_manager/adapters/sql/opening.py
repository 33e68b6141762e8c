"""The store for a database URL."""

from __future__ import annotations

from importlib import import_module

from agent_manager.adapters.sql.database_url import postgres_address
from agent_manager.adapters.sql.sqlite import SqliteStore
from agent_manager.ports.store import ManagedStore


def store_at(url: str, *, pool_size: int = 5, max_overflow: int = 10) -> ManagedStore:
    """The store on the database that `url` names, not open yet; the pool's sizes count for PostgreSQL only.

    Raises InvalidRequestError, without the URL in it, when it is of neither kind.
    """
    address = postgres_address(url)
    if address is None:
        return SqliteStore(url)
    # By name, as SQLAlchemy loads its own dialects: a manager on SQLite is spared 11 MB and a third of its start.
    made: ManagedStore = import_module("agent_manager.adapters.sql.postgres").PostgresStore(
        address, pool_size=pool_size, max_overflow=max_overflow
    )
    return made
