"""What PostgreSQL says when it cannot, in the words of the port.

Codes: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFreeError

from agent_manager.adapters.sql.transaction import WroteInReadError
from agent_manager.domain.errors import UnavailableError

SERIALIZATION_FAILURE, DEADLOCK = "40001", "40P01"
READ_ONLY_TRANSACTION = "25006"

_RUN_AGAIN = {SERIALIZATION_FAILURE, DEADLOCK}
_SCHEMA_CHANGED = {"42P01", "42703"}
_NO_CONNECTION = ("08", "53300", "57P")

_REMEDIES = {
    "08": "check that the server runs and can be reached from here",
    "0A000": "it is a standby: use the address of the primary",
    READ_ONLY_TRANSACTION: "it takes no writes: is it a standby? Use the address of the primary",
    "25P03": "try again; is this machine overloaded?",
    "28": "check user and password in the database URL, and pg_hba.conf of the server",
    "3D000": "create the database, or correct its name in the database URL",
    "42501": "grant the user the right to read and change the tables",
    "53100": "free space on the server's volume",
    "53200": "give the server more memory, or its clients less work",
    "53300": "raise max_connections of the server, or lower the pool's size on the nodes",
    "55P03": "somebody else holds the lock: look at pg_stat_activity",
    "57014": "look at pg_stat_activity for what holds it up",
    "57P01": "it was shut down by an administrator: start it again",
    "57P02": "it is recovering from a crash",
    "57P03": "it is starting or shutting down",
    "58": "look at the server's log and its volumes",
    "XX": "look at the server's log",
}
"""By code, or by its class, the first two characters. What is not here is a mistake of the program."""


class OutOfReachError(UnavailableError):
    """There is no connection to be had; it may come back by itself."""


@contextmanager
def told(database: str) -> Iterator[None]:
    """Turn what is wrong with the database into UnavailableError naming `database`; let everything else pass."""
    try:
        yield
    except (DBAPIError, NoConnectionFreeError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        # TimeoutError is an OSError.
        told_as = None if may_run_again(error) else unavailable(database, error)
        if told_as is None:
            raise
        raise told_as from error


@contextmanager
def reading() -> Iterator[None]:
    """Tell a write in a transaction that may not write from a database that takes none."""
    try:
        yield
    except DBAPIError as error:
        if code(error) != READ_ONLY_TRANSACTION:
            raise
        raise WroteInReadError("a unit of work given to read() tried to write: give it to write()") from error


def unavailable(database: str, error: BaseException) -> UnavailableError | None:
    """The error for callers: which database, what it said, what to do. None when the program is what is wrong."""
    state = code(error) or ("08" if is_disconnect(error) else "")
    remedy = _REMEDIES.get(state) or _REMEDIES.get(state[:2])
    if isinstance(_cause(error), asyncpg.exceptions.ClientConfigurationError):
        state, remedy = "", "correct the database URL"
    elif "rejected SSL upgrade" in str(error):
        remedy = "it offers no TLS: enable that on the server, or choose another sslmode in the database URL"
    elif isinstance(error, NoConnectionFreeError):
        remedy = "too much is going on at once; try again"
    elif remedy is None:
        return None
    reason = _words(error)
    kind = OutOfReachError if state.startswith(_NO_CONNECTION) else UnavailableError
    return kind(
        f"the database {database} cannot be used: {reason}; {remedy}",
        detail={"database": database, "reason": reason},
    )


def may_run_again(error: BaseException) -> bool:
    """Whether the transaction is undone for certain, by a clash with another one that will not be met again."""
    return code(error) in _RUN_AGAIN or isinstance(_cause(error), asyncpg.InvalidCachedStatementError)


def is_disconnect(error: BaseException) -> bool:
    """Whether the connection is gone, not only the transaction."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated
    return isinstance(error, OSError | asyncpg.InterfaceError)


def misses_tables(error: BaseException) -> bool:
    """Whether a table or column is not there: somebody has changed the schema."""
    return code(error) in _SCHEMA_CHANGED


def code(error: BaseException) -> str | None:
    """The SQLSTATE; None where the server has said nothing."""
    return getattr(_cause(error), "sqlstate", None)


def _cause(error: BaseException) -> BaseException:
    """What asyncpg raised: SQLAlchemy wraps it twice."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        return error.orig.__cause__ or error.orig
    return error


def _words(error: BaseException) -> str:
    cause = _cause(error)
    if isinstance(cause, NoConnectionFreeError):
        return "no connection is free"
    if isinstance(cause, TimeoutError):
        return "it does not answer in time"
    # What the server adds to its words comes on lines of its own.
    return str(cause).replace("\n", " ") or type(cause).__name__
