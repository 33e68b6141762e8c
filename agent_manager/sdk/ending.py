"""Why and when the agent ends: the first reason given stands."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from enum import IntEnum
from types import FrameType
from typing import Any


class ExitCode(IntEnum):
    """How the process ends; the last two as in sysexits.h."""

    CLEAN = 0
    """Asked to stop, and did."""
    FAILED = 1
    """The agent's own code failed outside of a command."""
    CONNECTION_LOST = 75
    """The bus will not have this launch any more: its credentials expired or were revoked. A new launch has others."""
    MISCONFIGURED = 78
    """The environment lacks something."""


class Ending:
    """The end of this process, which several causes may bring about."""

    def __init__(self) -> None:
        self._reached = asyncio.Event()
        self.exit_code = ExitCode.CLEAN

    @property
    def reached(self) -> bool:
        """Whether a reason has been given."""
        return self._reached.is_set()

    def give(self, exit_code: ExitCode) -> None:
        """Give a reason to end; later ones change nothing."""
        if not self.reached:
            self.exit_code = exit_code
            self._reached.set()

    async def wait(self) -> None:
        """Wait for the first reason."""
        await self._reached.wait()

    async def unless(self, work: Coroutine[Any, Any, None]) -> bool:
        """Carry `work` out, and give it up when the end is reached first. Whether it was finished."""
        async with asyncio.TaskGroup() as tasks:
            working = tasks.create_task(work)
            waiting = tasks.create_task(self.wait())
            await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
            working.cancel()
            waiting.cancel()
        return not working.cancelled() and not self.reached


@contextmanager
def ended_by_signals(ending: Ending) -> Iterator[None]:
    """Within, the first SIGTERM or SIGINT gives `ending` its reason and the second one kills. Main thread only."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)

    # A handler of the loop would not run while the agent blocks it, and so could not make way for the second signal.
    def end(number: int, frame: FrameType | None) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_DFL)
        loop.call_soon_threadsafe(ending.give, ExitCode.CLEAN)

    former = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
