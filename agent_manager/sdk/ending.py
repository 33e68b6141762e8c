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
    """`on_start` or a background coroutine failed; the traceback is in the log."""
    CONNECTION_LOST = 75
    """The server refuses this launch for good: its credentials were revoked. A new launch has others."""
    MISCONFIGURED = 78
    """A variable of the environment is missing or wrong; the message names it."""


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
            working = tasks.create_task(work, name="work")
            waiting = tasks.create_task(self.wait(), name="ending")
            await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
            working.cancel()
            waiting.cancel()
        return not working.cancelled() and not self.reached


@contextmanager
def ended_by_signals(ending: Ending) -> Iterator[None]:
    """Within, the first SIGTERM or SIGINT gives `ending` its reason and the second one kills. Main thread only."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)

    def make_way(number: int, frame: FrameType | None) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_DFL)

    former = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        # The loop's own handler wakes it, whichever thread the signal meets, but would not run while the agent blocks
        # the loop: the second signal could not kill. So its place is taken; the loop is woken all the same.
        loop.add_signal_handler(number, ending.give, ExitCode.CLEAN)
        signal.signal(number, make_way)
    try:
        yield
    finally:
        for number, handler in former.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
