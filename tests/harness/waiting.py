"""Waiting for conditions instead of sleeping."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any


def wait_until(condition: Callable[[], Any], timeout_s: float = 20.0) -> Any:
    """Call `condition` until its result is true and return it. Raises TimeoutError naming the condition."""
    deadline = time.monotonic() + timeout_s
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise TimeoutError(f"not true within {timeout_s:g} s: {inspect.getsource(condition).strip()}")
        time.sleep(0.01)


async def eventually(condition: Callable[[], Any | Awaitable[Any]], timeout_s: float = 20.0) -> Any:
    """The same in a coroutine; `condition` may be asynchronous."""
    deadline = time.monotonic() + timeout_s
    while True:
        result = condition()
        if inspect.isawaitable(result):
            result = await result
        if result:
            return result
        if time.monotonic() > deadline:
            raise TimeoutError(f"not true within {timeout_s:g} s: {inspect.getsource(condition).strip()}")
        await asyncio.sleep(0.01)
