"""Calling an author's functions."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading

import pytest

from agent_manager.sdk.calling import call
from tests.harness.waiting import wait_until

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")


class CallableAsync:
    async def __call__(self, value: int) -> threading.Thread:
        return threading.current_thread()


async def on_loop(value: int) -> threading.Thread:
    return threading.current_thread()


def in_thread(value: int) -> threading.Thread:
    return threading.current_thread()


@pytest.mark.parametrize("function", [on_loop, CallableAsync(), functools.partial(on_loop)])
async def test_a_coroutine_runs_on_the_event_loop(function: object) -> None:
    assert await call(function, 1) is threading.main_thread()  # type: ignore[arg-type]


async def test_a_plain_function_runs_in_a_thread_that_does_not_keep_the_process_alive() -> None:
    thread = await call(in_thread, 1)
    assert thread is not threading.main_thread()
    assert thread.daemon


async def test_a_thread_sees_the_callers_context() -> None:
    variable.set("here")
    assert await call(variable.get) == "here"


@pytest.mark.parametrize("error", [ValueError("no"), KeyError("k"), SystemExit(3)])
async def test_what_a_thread_raises_is_raised_in_the_caller(error: BaseException) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        await call(fail)
    assert raised.value is error


async def test_a_stop_iteration_does_not_get_lost() -> None:
    def fail() -> None:
        raise StopIteration

    with pytest.raises(RuntimeError):
        await call(fail)


async def test_a_cancelled_caller_leaves_the_thread_to_itself() -> None:
    release, finished = threading.Event(), threading.Event()

    def work() -> None:
        release.wait()
        finished.set()

    task = asyncio.create_task(call(work))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    release.set()
    assert await asyncio.to_thread(finished.wait, 20)


def test_a_thread_that_outlives_the_loop_ends_quietly() -> None:
    release, threads = threading.Event(), []

    def work() -> None:
        threads.append(threading.current_thread())
        release.wait()

    async def abandon() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(call(work), 0.01)

    asyncio.run(abandon())
    release.set()
    wait_until(lambda: not threads[0].is_alive())
