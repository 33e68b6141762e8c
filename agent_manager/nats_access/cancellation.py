"""Cancellations that are lost on the way."""

from __future__ import annotations

import asyncio


def heed_cancellation() -> None:
    """Raise CancelledError where this task has been cancelled and does not know it.

    `asyncio.wait_for` of Python 3.11, with which nats-py waits, forgets a cancellation that meets the outcome. Whoever
    waits for such a task waits for ever.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
