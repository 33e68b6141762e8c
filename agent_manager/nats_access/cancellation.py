"""Cancellations that are lost on the way.

`asyncio.wait_for` of Python 3.11, with which nats-py waits, forgets a cancellation that meets the outcome. Whoever
waits for such a task waits for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


def heed_cancellation() -> None:
    """Raise CancelledError where this task has been cancelled and does not know it."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


@contextmanager
def heeding_cancellation() -> Iterator[None]:
    """Raise CancelledError after a block in which this task was cancelled, whatever else came of the block.

    A task that was cancelled before may still do in it what belongs to its end.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    try:
        yield
    finally:
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError
