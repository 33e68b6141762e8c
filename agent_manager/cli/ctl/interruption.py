"""Ctrl-C: what runs is cancelled, and what does not end of that is interrupted wherever it is.

asyncio does the first. It is not enough for a program that waits until somebody reads its output: a write goes on after
a signal whose handler returns (PEP 475).
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from types import FrameType
from typing import Any, TypeVar

PATIENCE_S = 1.0
"""From Ctrl-C to the interruption, and from there to the next one."""

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`. Raises KeyboardInterrupt on Ctrl-C, unless that is ignored."""
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        return asyncio.run(_insisting(main))
    finally:
        signal.signal(signal.SIGINT, before)
        signal.setitimer(signal.ITIMER_REAL, 0.0)


async def _insisting(main: Coroutine[Any, Any, T]) -> T:
    cancel = signal.getsignal(signal.SIGINT)
    if callable(cancel):

        def interrupted(number: int, frame: FrameType | None) -> None:
            signal.setitimer(signal.ITIMER_REAL, PATIENCE_S, PATIENCE_S)
            cancel(number, frame)

        # Wakes the loop: a signal that comes just before it begins to wait, or to another thread, ends no wait.
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, lambda: None)
        signal.signal(signal.SIGINT, interrupted)
    return await main
