"""The store on SQLite: one writer with group commit, readers on snapshots."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from sqlalchemy import Connection, make_url

from agent_manager.adapters.sql import schema, sqlite_engine, sqlite_failures
from agent_manager.adapters.sql.group_commit import GroupCommit
from agent_manager.adapters.sql.known_rows import KnownRows
from agent_manager.adapters.sql.local_holds import LocalHolds
from agent_manager.adapters.sql.outcome import Raised, Returned, outcome_of
from agent_manager.adapters.sql.tables import METADATA
from agent_manager.adapters.sql.transaction import SqlTransaction
from agent_manager.domain.errors import UnavailableError
from agent_manager.ports.store import Transaction

T = TypeVar("T")


class SqliteStore:
    """Implements `ports.store.Store` on the database file of `url` (`sqlite:///<path>`); an async context manager.

    The file must have this version's schema. `sqlite://` is a database in memory: it begins empty with every store, has
    one connection, and so reads wait their turn among the writes. `readers` is how many units read at the same time,
    `max_batch` how many share a commit, `busy_timeout_s` how long another process may hold the write lock before what
    waits is refused.
    """

    def __init__(self, url: str, *, readers: int = 4, max_batch: int = 128, busy_timeout_s: float = 2.0) -> None:
        target = make_url(url)
        self._in_memory = sqlite_engine.is_memory(target)
        self._database = target.database or ":memory:"
        self._file = sqlite_engine.DatabaseFile(self._database)
        self._writing = sqlite_engine.writer(target, busy_timeout_s=busy_timeout_s, file=self._file)
        self._reading = sqlite_engine.readers(
            target, busy_timeout_s=busy_timeout_s, connections=readers, file=self._file
        )
        self._readers = ThreadPoolExecutor(max_workers=readers, thread_name_prefix="store-reader")
        self._writer = GroupCommit(
            self._writing, max_batch=max_batch, refuse=partial(sqlite_failures.unavailable, self._database)
        )
        self._known = KnownRows()
        self._holds = LocalHolds()
        self._is_open = False

    @property
    def is_shared(self) -> bool:
        """No other process works on the file."""
        return False

    async def open(self) -> None:
        """Connect and check the schema. Once only.

        Raises UnavailableError when the file cannot be used or has another schema.
        """
        await asyncio.to_thread(self._prepare)
        self._writer.start()
        self._is_open = True

    async def close(self) -> None:
        """Run and commit what was asked before, then let go of the file. Nothing happens when it is not open."""
        if self._is_open:
            self._is_open = False
            await asyncio.to_thread(self._finish)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` and commit: what it wrote is on disk when this returns. An exception of `work` undoes it alone."""
        self._require_open()
        outcome = await self._writer.submit(partial(self._run, work))
        with sqlite_failures.told(self._database):
            return outcome.get()

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` on a consistent snapshot. Raises WroteInReadError when it tries to write."""
        self._require_open()
        outcome: Returned[T] | Raised
        if self._in_memory:
            outcome = await self._writer.submit(partial(self._run_read_only, work))
        else:
            loop = asyncio.get_running_loop()
            outcome = await loop.run_in_executor(self._readers, outcome_of, partial(self._run_on_snapshot, work))
        with sqlite_failures.told(self._database), sqlite_failures.reading():
            return outcome.get()

    def hold(self, name: str) -> AbstractAsyncContextManager[None]:
        """Be the only one in this process that holds `name`: no other process works on the file."""
        return self._holds.hold(name)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def _prepare(self) -> None:
        try:
            with sqlite_failures.told(self._database), self._writing.begin() as connection:
                if self._in_memory:
                    METADATA.create_all(connection)
                else:
                    schema.check(connection)
                    self._file.opened()
        except BaseException:
            self._writing.dispose()
            raise

    def _finish(self) -> None:
        self._writer.stop()
        self._readers.shutdown()
        self._reading.dispose()
        # The last connection to close moves what is in the write-ahead log into the database file.
        self._writing.dispose()

    def _require_open(self) -> None:
        if not self._is_open:
            raise UnavailableError(f"the database {self._database} is not open", detail={"database": self._database})

    def _run(self, work: Callable[[Transaction], T], connection: Connection) -> T:
        return work(SqlTransaction(connection, self._known))

    def _run_on_snapshot(self, work: Callable[[Transaction], T]) -> T:
        with self._reading.begin() as connection:
            return self._run(work, connection)

    def _run_read_only(self, work: Callable[[Transaction], T], connection: Connection) -> T:
        connection.exec_driver_sql("PRAGMA query_only = ON")
        try:
            return self._run(work, connection)
        finally:
            connection.exec_driver_sql("PRAGMA query_only = OFF")
