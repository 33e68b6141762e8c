"""What SQLite says when it cannot, in the words of the port."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError

from agent_manager.adapters.sql.transaction import WroteInReadError
from agent_manager.domain.errors import UnavailableError

_PRIMARY_CODE = 0xFF
"""The low byte of a result code is its kind, the rest refines it (https://www.sqlite.org/rescode.html)."""

_REMEDIES = {
    sqlite3.SQLITE_BUSY: "another process has held it too long: is a second manager, or a tool, working on it?",
    sqlite3.SQLITE_CANTOPEN: "check that its directory exists and may be written by this user",
    sqlite3.SQLITE_CORRUPT: "stop the manager and restore a backup",
    sqlite3.SQLITE_FULL: "free space on its volume",
    sqlite3.SQLITE_IOERR: "check its volume: space, quota, hardware",
    sqlite3.SQLITE_NOTADB: "restore it from a backup, or move it away to begin anew",
    sqlite3.SQLITE_READONLY: "check that the file and its directory may be written by this user",
}


@contextmanager
def told(database: str) -> Iterator[None]:
    """Turn what is wrong with the database into UnavailableError naming `database`; let everything else pass."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        # Mistakes in a statement or a value have classes of their own; they are the program's, not the database's.
        if type(_cause(error)) not in (sqlite3.OperationalError, sqlite3.DatabaseError):
            raise
        raise unavailable(database, error) from error


@contextmanager
def reading() -> Iterator[None]:
    """Tell a write on a connection that may not write from a file that cannot be written."""
    try:
        yield
    except DBAPIError as error:
        if _code(error) != sqlite3.SQLITE_READONLY:
            raise
        raise WroteInReadError("a unit of work given to read() tried to write: give it to write()") from error


def unavailable(database: str, error: BaseException) -> UnavailableError:
    """The error for callers: which database, what it said, what to do."""
    code = _code(error)
    reason = str(_cause(error))
    remedy = _REMEDIES.get(code & _PRIMARY_CODE)
    return UnavailableError(
        f"the database {database} cannot be used: {reason}" + (f"; {remedy}" if remedy else ""),
        detail={"database": database, "reason": reason},
    )


def _cause(error: BaseException) -> BaseException:
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def _code(error: BaseException) -> int:
    # Errors that the sqlite3 module raises by itself, such as for a closed connection, carry none.
    return getattr(_cause(error), "sqlite_errorcode", 0)
