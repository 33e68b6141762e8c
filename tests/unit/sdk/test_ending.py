"""The end of the process, and work that gives way to it."""

from __future__ import annotations

import asyncio
import os
import signal
import threading

from agent_manager.sdk.ending import Ending, ExitCode, ended_by_signals


async def test_the_first_reason_stands() -> None:
    ending = Ending()
    ending.give(ExitCode.FAILED)
    ending.give(ExitCode.CLEAN)
    await ending.wait()
    assert ending.exit_code is ExitCode.FAILED


async def test_work_that_finishes_first_is_finished() -> None:
    assert await Ending().unless(asyncio.sleep(0))


async def test_work_is_given_up_when_the_end_comes_first() -> None:
    ending, begun, given_up = Ending(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()

    waiting = asyncio.create_task(ending.unless(work()))
    await begun.wait()
    ending.give(ExitCode.CLEAN)
    assert not await waiting
    assert given_up.is_set()


async def test_the_first_signal_ends_and_the_next_would_kill() -> None:
    ending = Ending()
    before = signal.getsignal(signal.SIGTERM)
    with ended_by_signals(ending):
        os.kill(os.getpid(), signal.SIGTERM)
        await ending.wait()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    assert ending.exit_code is ExitCode.CLEAN
    assert signal.getsignal(signal.SIGTERM) is before


async def test_a_signal_that_meets_another_thread_ends_too() -> None:
    ending, waiting = Ending(), threading.Event()

    def interrupt() -> None:
        waiting.wait()
        os.kill(os.getpid(), signal.SIGTERM)

    other = threading.Thread(target=interrupt)
    other.start()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))
    try:
        with ended_by_signals(ending):
            asyncio.get_running_loop().call_soon(waiting.set)
            await ending.wait()
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        other.join()
