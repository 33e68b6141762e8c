"""The store on PostgreSQL: each unit of work is a transaction of its own, on a connection of a pool."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from agent_manager.adapters.sql import postgres_failures, postgres_hold, schema
from agent_manager.adapters.sql.database_url import PostgresAddress
from agent_manager.adapters.sql.known_rows import KnownRows
from agent_manager.adapters.sql.outcome import Raised, Returned, outcome_of
from agent_manager.adapters.sql.postgres_connections import Connector
from agent_manager.adapters.sql.transaction import SqlTransaction
from agent_manager.domain.errors import UnavailableError
from agent_manager.ports.store import Transaction

T = TypeVar("T")

CHECK_S = 1.0
"""How old the knowledge may be that this version can work with the schema: another node may migrate at any time."""

CLOSE_S = 2.0
"""How long to take leave of the server in order."""


class PostgresStore:
    """Implements `ports.store.ManagedStore` on the database at `address`; an async context manager.

    It must have a schema this version can work with. `pool_size` connections are kept, `max_overflow` more are made
    while they are needed. `timeout_s` bounds a unit of work as a whole: the wait for a connection, its statements, its
    commit, and whatever repetitions clashes with other units call for.
    """

    def __init__(
        self, address: PostgresAddress, *, pool_size: int = 5, max_overflow: int = 10, timeout_s: float = 3.0
    ) -> None:
        self._database = address.name
        self._timeout_s = timeout_s
        self._connector = Connector(address, timeout_s)
        sizes = {"pool_size": pool_size, "max_overflow": max_overflow, "pool_timeout": timeout_s}
        self._engine = self._connector.engine(isolation_level="SERIALIZABLE", **sizes)
        # A transaction sees the database as it was at its first statement.
        self._snapshots = self._engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._known = KnownRows()
        self._turns = asyncio.Lock()
        self._running: set[asyncio.Task[Any]] = set()
        self._check_at = 0.0
        self._is_open = False

    @property
    def is_shared(self) -> bool:
        """Every node of a cluster works on it."""
        return True

    async def open(self) -> None:
        """Connect and check the schema; may be tried again. Raises UnavailableError."""
        try:
            await self._bounded(self._attempt(self._snapshots, lambda _: None))
        except BaseException:
            await self._let_go()
            raise
        self._is_open = True

    async def close(self) -> None:
        """Finish what was asked before, then let go of the database. Nothing happens when it is not open."""
        if self._is_open:
            self._is_open = False
            await self._let_go()

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` and commit: what it wrote is on disk when this returns. An exception of `work` undoes it alone."""
        self._require_open()
        return await self._bounded(self._repeated(self._engine, work))

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` on a consistent snapshot. Raises WroteInReadError when it tries to write."""
        self._require_open()

        def guarded(transaction: Transaction) -> T:
            with postgres_failures.reading():
                return work(transaction)

        return await self._bounded(self._repeated(self._snapshots, guarded))

    def hold(self, name: str) -> AbstractAsyncContextManager[None]:
        """Be the only one in the cluster that holds `name`, as `ports.store.Store.hold` says."""
        return postgres_hold.held(self._connector, name)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _let_go(self) -> None:
        if self._running:
            await asyncio.wait(self._running, timeout=self._timeout_s)
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._engine.dispose()
        except TimeoutError:
            self._connector.terminate()

    def _require_open(self) -> None:
        if not self._is_open:
            raise UnavailableError(f"the database {self._database} is not open", detail={"database": self._database})

    async def _bounded(self, unit: Coroutine[Any, Any, T]) -> T:
        """Run a unit in a task of its own; give up on it when it takes too long.

        Its end is not waited for then: taking leave of a server that stands still takes time, too. Nor does a caller
        that is cancelled end it: whether it is committed is left open, and its connection stays usable.
        """
        task = asyncio.create_task(unit, name="unit of work")
        self._running.add(task)
        task.add_done_callback(self._over)
        done, _ = await asyncio.wait([task], timeout=self._timeout_s)
        if done:
            return task.result()
        task.cancel()
        raise UnavailableError(
            f"the database {self._database} has not done it within {self._timeout_s:g} s; it may be overloaded or out "
            "of reach, and may still do it: look before asking again",
            detail={"database": self._database, "waited_s": self._timeout_s},
        )

    def _over(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            # Nobody may be left to take it.
            task.exception()

    async def _repeated(self, engine: AsyncEngine, work: Callable[[Transaction], T]) -> T:
        """Run a unit until it is in nobody's way. Those that clashed take turns: one of them always gets ahead."""
        try:
            return await self._attempt(engine, work)
        except DBAPIError as error:
            if not postgres_failures.may_run_again(error):
                raise
        async with self._turns:
            while True:
                try:
                    return await self._attempt(engine, work)
                except DBAPIError as error:
                    if not postgres_failures.may_run_again(error):
                        raise

    async def _attempt(self, engine: AsyncEngine, work: Callable[[Transaction], T]) -> T:
        with postgres_failures.told(self._database):
            try:
                return await self._transaction(engine, work)
            except DBAPIError as error:
                if postgres_failures.misses_tables(error):
                    self._check_at = 0.0
                    await self._transaction(engine, lambda _: None)
                raise

    async def _transaction(self, engine: AsyncEngine, work: Callable[[Transaction], T]) -> T:
        async with engine.connect() as connection:
            outcome: Returned[T] | Raised = await connection.run_sync(partial(self._run, work))
            value = outcome.get()
            await connection.commit()
            return value

    def _run(self, work: Callable[[Transaction], T], connection: Connection) -> Returned[T] | Raised:
        return outcome_of(partial(self._checked, work, connection))

    def _checked(self, work: Callable[[Transaction], T], connection: Connection) -> T:
        now = time.monotonic()
        if now >= self._check_at:
            schema.check(connection)
            self._check_at = now + CHECK_S
        return work(SqlTransaction(connection, self._known))
