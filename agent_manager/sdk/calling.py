"""Calling what an author wrote: a coroutine function on the event loop, any other function in a thread."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

Function = Callable[..., Any]
"""A function or coroutine function of an agent's author."""

_Outcome = tuple[Any, BaseException | None]


def name_of(function: Function) -> str:
    """What to call a function in logs."""
    return getattr(function, "__qualname__", None) or repr(function)


async def call(function: Function, *arguments: Any) -> Any:
    """The result of `function`; whatever it raises is raised here. A cancelled caller leaves a thread to itself."""
    if inspect.iscoroutinefunction(function):
        return await function(*arguments)
    result, error = await _in_thread(function, *arguments)
    if error is not None:
        raise error
    return await result if inspect.isawaitable(result) else result


async def _in_thread(function: Function, *arguments: Any) -> _Outcome:
    # Not an executor: the interpreter joins its threads at exit, so one that hangs would keep the process alive.
    loop = asyncio.get_running_loop()
    finished: asyncio.Future[_Outcome] = loop.create_future()
    context = contextvars.copy_context()

    def settle(outcome: _Outcome) -> None:
        if not finished.done():
            finished.set_result(outcome)

    def work() -> None:
        outcome: _Outcome
        try:
            outcome = context.run(function, *arguments), None
        except BaseException as error:  # raised again in the caller
            outcome = None, error
        with suppress(RuntimeError):  # the loop has been closed: nobody waits
            loop.call_soon_threadsafe(settle, outcome)

    threading.Thread(target=work, name=name_of(function), daemon=True).start()
    return await finished
