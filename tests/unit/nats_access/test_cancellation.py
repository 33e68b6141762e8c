"""Cancellations that meet what the cancelled task waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.harness.answered_by_hand import AnsweredByHand
from tests.harness.waiting import eventually


async def turns(number: int) -> None:
    """Let the event loop run that often."""
    for _ in range(number):
        await asyncio.sleep(0)


async def waiting(bus: AnsweredByHand, what: str) -> tuple[asyncio.Task[None], Callable[[], None]]:
    """A task that waits for the bus, and what answers it."""

    async def wait() -> None:
        await (bus.request("subject") if what == "request" else bus.flush(timeout=60))

    task = asyncio.create_task(wait())
    await eventually(lambda: bus.asked or bus.pinged)
    return task, bus.pong if bus.pinged else lambda: bus.answer("subject")


@pytest.mark.parametrize("what", ["request", "flush"])
@pytest.mark.parametrize("between", range(7))
async def test_a_cancellation_after_the_answer_counts_as_long_as_the_task_runs(what: str, between: int) -> None:
    task, answer = await waiting(AnsweredByHand(), what)
    answer()
    await turns(between)
    was_under_way = task.cancel()
    await asyncio.wait([task])
    assert task.cancelled() is was_under_way


@pytest.mark.parametrize("what", ["request", "flush"])
async def test_a_task_that_was_cancelled_before_can_still_use_the_bus_at_its_end(what: str) -> None:
    bus = AnsweredByHand()
    reached = []

    async def end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await (bus.request("subject") if what == "request" else bus.flush(timeout=60))
            reached.append(what)

    task = asyncio.create_task(end())
    await turns(1)
    task.cancel()
    await eventually(lambda: bus.asked or bus.pinged)
    if bus.pinged:
        bus.pong()
    else:
        bus.answer("subject")
    await asyncio.wait([task])
    assert reached == [what]
    assert task.cancelled()
