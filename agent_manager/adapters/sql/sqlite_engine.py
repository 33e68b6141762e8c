"""SQLAlchemy engines on SQLite, with transactions that are what they say.

The sqlite3 module begins transactions when it thinks fit, which breaks SAVEPOINT and snapshots. As SQLAlchemy documents
("Using SQLAlchemy to emit BEGIN in lieu of SQLite's transaction control"), its own control is turned off and BEGIN is
sent where SQLAlchemy begins.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import Any

from sqlalchemy import URL, Connection, Engine, Pool, QueuePool, StaticPool, create_engine, event


def is_memory(url: URL) -> bool:
    """Whether the database lives in the memory of one connection."""
    return url.database in (None, "", ":memory:")


class DatabaseFile:
    """Whether there is still the file at `path` that was opened: of one that is removed nothing else would tell."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._opened: tuple[int, int] | None = None

    def opened(self) -> None:
        """The one that is there now is the one. Raises sqlite3.OperationalError when it cannot be looked at."""
        try:
            self._opened = self._identity()
        except OSError as error:
            raise sqlite3.OperationalError(f"the file cannot be looked at: {error.strerror or error}") from error

    def check(self) -> None:
        """Raises sqlite3.OperationalError when it is not."""
        if self._opened is None:
            return
        try:
            found: tuple[int, int] | None = self._identity()
        except OSError:
            found = None
        if found != self._opened:
            raise sqlite3.OperationalError(
                f"the file has been {'removed' if found is None else 'replaced'} while it was in use, and what is "
                "written would be lost; move it back, or restart the node to go on with what is there"
            )

    def _identity(self) -> tuple[int, int]:
        status = os.stat(self._path)
        return status.st_dev, status.st_ino


def writer(url: URL, *, busy_timeout_s: float, file: DatabaseFile | None = None) -> Engine:
    """One connection that takes the write lock when a transaction begins, and whose commits are on disk.

    A deferred transaction that reads and then writes would fail with SQLITE_BUSY_SNAPSHOT, whatever the timeout.
    """
    pragmas = ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON")
    return _engine(url, busy_timeout_s, begin="BEGIN IMMEDIATE", pragmas=pragmas, connections=1, file=file)


def readers(url: URL, *, busy_timeout_s: float, connections: int, file: DatabaseFile) -> Engine:
    """Connections that cannot write; a transaction sees the database as it was at its first statement."""
    return _engine(url, busy_timeout_s, begin="BEGIN", pragmas=("query_only = ON",), connections=connections, file=file)


def migrator(url: URL, *, busy_timeout_s: float) -> Engine:
    """As `writer`, without foreign keys: rebuilding a table would otherwise delete the rows that refer to it."""
    pragmas = ("journal_mode = WAL", "synchronous = FULL")
    return _engine(url, busy_timeout_s, begin="BEGIN IMMEDIATE", pragmas=pragmas, connections=1)


def _engine(
    url: URL,
    busy_timeout_s: float,
    *,
    begin: str,
    pragmas: tuple[str, ...],
    connections: int,
    file: DatabaseFile | None = None,
) -> Engine:
    # Threads take turns on a connection here, none uses it while another does.
    connect_args = {"timeout": busy_timeout_s, "check_same_thread": False}
    pool: type[Pool] = QueuePool
    sizes: dict[str, Any] = {"pool_size": connections, "max_overflow": 0}
    if is_memory(url):
        pool, sizes = StaticPool, {}
    # JSON goes in and comes out as its text: `rows` makes and parses it.
    engine = create_engine(
        url, connect_args=connect_args, poolclass=pool, json_serializer=str, json_deserializer=str, **sizes
    )

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        with closing(connection.cursor()) as cursor:
            for pragma in pragmas:
                cursor.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "do_connect")
    def check_file(*_: object) -> None:
        # A connection to a file that is not there would make an empty one.
        if file is not None:
            file.check()

    @event.listens_for(engine, "begin")
    def send_begin(connection: Connection) -> None:
        if file is not None:
            file.check()
        connection.exec_driver_sql(begin)

    return engine
