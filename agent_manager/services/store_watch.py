"""The store as its users find it: whether it can be reached, how long it takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

from agent_manager.domain.errors import UnavailableError
from agent_manager.ports.clock import Clock
from agent_manager.ports.observation import UNOBSERVED, Observer, Tracer
from agent_manager.ports.store import ManagedStore, Transaction

T = TypeVar("T")

FIRST_TRY_S = 2.0
"""How long whoever asks waits while the store is being opened for the first time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreState:
    """`reason` says why the store is away, None while it is there; so it is since `since`, Unix seconds."""

    reason: str | None
    since: float

    @property
    def available(self) -> bool:
        """Whether the last thing asked of it was done."""
        return self.reason is None


class WatchedStore:
    """Implements `ports.store.ManagedStore` over another one: tells its observer, and remembers how that did last.

    The reconciler reads every few seconds, more often after a failure, so that the state is never much older.
    """

    def __init__(
        self,
        store: ManagedStore,
        clock: Clock,
        observer: Observer = UNOBSERVED,
        tracer: Tracer = UNOBSERVED,
    ) -> None:
        self._store = store
        self._clock = clock
        self._observer = observer
        self._tracer = tracer
        self._state = StoreState(reason="it is not open yet", since=clock.now().wall)
        self._tried = asyncio.Event()
        self._not_opened: UnavailableError | None = None

    @property
    def is_shared(self) -> bool:
        """Whether other processes may write to it too."""
        return self._store.is_shared

    @property
    def state(self) -> StoreState:
        """How it did last."""
        return self._state

    async def open(self) -> None:
        """Connect and check the schema; may be tried again. Raises UnavailableError."""
        try:
            with self._watching():
                await self._store.open()
        except UnavailableError as error:
            self._not_opened = error
            raise
        else:
            self._not_opened = None
        finally:
            self._tried.set()

    async def close(self) -> None:
        """Finish what was asked before, then let go of the database."""
        await self._store.close()

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` and commit."""
        await self._first_try()
        with self._observing("write"):
            self._require_open()
            return await self._store.write(work)

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` on a consistent snapshot."""
        await self._first_try()
        with self._observing("read"):
            self._require_open()
            return await self._store.read(work)

    def hold(self, name: str) -> AbstractAsyncContextManager[None]:
        """Be the only one in the cluster that holds `name`."""
        return self._store.hold(name)

    async def _first_try(self) -> None:
        """Who asks a manager that has just taken over is not refused for what is there in a moment."""
        if not self._tried.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(FIRST_TRY_S):
                    await self._tried.wait()

    def _require_open(self) -> None:
        """A store that could not be opened only knows that it is not open; whoever asks is told why."""
        if self._not_opened is not None:
            raise UnavailableError(self._not_opened.message, detail=self._not_opened.detail)

    @contextmanager
    def _observing(self, kind: str) -> Iterator[None]:
        began, available, failed = time.perf_counter(), True, True
        try:
            with self._tracer.span(f"store {kind}", {}), self._watching():
                yield
            failed = False
        except UnavailableError:
            available = False
            raise
        finally:
            self._observer.unit_ended(kind, available=available, failed=failed, seconds=time.perf_counter() - began)

    @contextmanager
    def _watching(self) -> Iterator[None]:
        try:
            yield
        except UnavailableError as error:
            self._found(error.message)
            raise
        self._found(None)

    def _found(self, reason: str | None) -> None:
        since = self._state.since if (reason is None) == self._state.available else self._clock.now().wall
        self._state = StoreState(reason=reason, since=since)
