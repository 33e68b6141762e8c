"""How many launches of a node come up at the same time: as many as its processors can bring up without delaying all."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from enum import IntEnum

HOLD_S = 5.0
"""How long a launch counts as coming up. One that takes longer waits for something, and needs no processor for that."""


class Rank(IntEnum):
    """Who is let through first."""

    RESTART = 0
    """It ran a moment ago, and somebody may be missing it."""
    START = 1


class StartGate:
    """Lets launches through in order of rank, then of arrival."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._inside: dict[str, asyncio.TimerHandle] = {}
        self._waiting: list[tuple[Rank, int, str]] = []
        self._passes: dict[str, asyncio.Future[bool]] = {}
        self._order = itertools.count()

    async def enter(self, launch_id: str, rank: Rank) -> bool:
        """Wait for one's turn. False when it was withdrawn meanwhile."""
        heapq.heappush(self._waiting, (rank, next(self._order), launch_id))
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._passes[launch_id] = turn
        self._let_in()
        return await turn

    def withdraw(self, launch_id: str) -> None:
        """It need not start any more; nothing happens if it was let through."""
        turn = self._passes.pop(launch_id, None)
        if turn is not None and not turn.done():
            turn.set_result(False)

    def leave(self, launch_id: str) -> None:
        """It is up, or over."""
        held = self._inside.pop(launch_id, None)
        if held is not None:
            held.cancel()
            self._let_in()

    def _let_in(self) -> None:
        while self._waiting and len(self._inside) < self._at_once:
            _, _, launch_id = heapq.heappop(self._waiting)
            turn = self._passes.pop(launch_id, None)
            if turn is not None and not turn.done():
                self._inside[launch_id] = asyncio.get_running_loop().call_later(HOLD_S, self.leave, launch_id)
                turn.set_result(True)
