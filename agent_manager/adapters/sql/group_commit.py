"""Group commit: one thread runs the units of work that wait, and commits them together.

A commit costs a write to disk, a unit a few statements: units that arrive while a commit goes on share the next one.
Each runs in a savepoint, so that one that fails is undone alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from agent_manager.adapters.sql.outcome import Raised, Returned, outcome_of

T = TypeVar("T")
Outcome = Returned[Any] | Raised


@dataclass(frozen=True, slots=True)
class _Unit:
    work: Callable[[Connection], Any]
    done: asyncio.Future[Outcome]

    def hand_over(self, outcome: Outcome) -> None:
        """Wake the caller, unless it is gone: cancelled, or its loop closed."""
        with suppress(RuntimeError):
            self.done.get_loop().call_soon_threadsafe(self._resolve, outcome)

    def _resolve(self, outcome: Outcome) -> None:
        if not self.done.done():
            self.done.set_result(outcome)


class GroupCommit:
    """Runs units of work on the one connection of `engine`, at most `max_batch` to a commit.

    `refuse` makes the error each unit of a batch gets when the batch cannot be begun or committed, from the cause.
    """

    def __init__(self, engine: Engine, *, max_batch: int, refuse: Callable[[Exception], Exception]) -> None:
        self._engine = engine
        self._max_batch = max_batch
        self._refuse = refuse
        self._queue: SimpleQueue[_Unit | None] = SimpleQueue()
        # A program that ends without `stop` must not hang; what was not committed then was promised to nobody.
        self._thread = Thread(target=self._run, name="store-writer", daemon=True)

    def start(self) -> None:
        """Start the thread. Once only."""
        self._thread.start()

    def stop(self) -> None:
        """Commit what is queued and end the thread; blocks until then. Nothing may be submitted any more."""
        self._queue.put(None)
        self._thread.join()

    async def submit(self, work: Callable[[Connection], T]) -> Returned[T] | Raised:
        """Run `work` and commit. A caller that is cancelled meanwhile leaves it open whether that happened."""
        done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._queue.put(_Unit(work, done))
        return await done

    def _run(self) -> None:
        stopping = False
        while not stopping:
            units, stopping = self._next_batch()
            for unit, outcome in zip(units, self._commit(units), strict=True):
                unit.hand_over(outcome)

    def _next_batch(self) -> tuple[list[_Unit], bool]:
        """Wait for a unit, take those that wait behind it; True with the batch after which nothing comes."""
        taken = [self._queue.get()]
        with suppress(Empty):
            while taken[-1] is not None and len(taken) < self._max_batch:
                taken.append(self._queue.get_nowait())
        return [unit for unit in taken if unit is not None], taken[-1] is None

    def _commit(self, units: list[_Unit]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        begun = False
        try:
            with self._engine.begin() as connection:
                begun = True
                for unit in units:
                    outcomes.append(_in_savepoint(connection, unit.work))
        except Exception as error:
            if not begun:
                self._refuse_waiting(error)
            return [
                outcome if isinstance(outcome, Raised) else self._refused(error)
                for _, outcome in zip_longest(units, outcomes)
            ]
        return outcomes

    def _refuse_waiting(self, cause: Exception) -> None:
        """Those that came while a batch waited for the write lock would only wait as long again."""
        waiting: list[_Unit | None] = []
        with suppress(Empty):
            while True:
                waiting.append(self._queue.get_nowait())
        for unit in waiting:
            if unit is None:
                self._queue.put(None)
            else:
                unit.hand_over(self._refused(cause))

    def _refused(self, cause: Exception) -> Raised:
        refusal = self._refuse(cause)
        refusal.__cause__ = cause
        return Raised(refusal)


def _in_savepoint(connection: Connection, work: Callable[[Connection], Any]) -> Outcome:
    """Run one unit. Raises only when the savepoint is lost: on some errors SQLite ends the whole transaction.

    A full disk is one (https://www.sqlite.org/lang_transaction.html, "Response To Errors Within A Transaction").
    """
    savepoint = connection.begin_nested()
    outcome = outcome_of(partial(work, connection))
    if isinstance(outcome, Returned):
        savepoint.commit()
        return outcome
    try:
        savepoint.rollback()
    except DBAPIError:
        # That it is gone says nothing; what the database refused to the unit says why.
        if isinstance(outcome.error, DBAPIError):
            raise outcome.error from None
        raise
    return outcome
