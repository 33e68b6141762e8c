"""A bounded number of commands at once."""

from __future__ import annotations

import asyncio

import pytest

from agent_manager.sdk.command_slots import CommandSlots
from agent_manager.sdk.errors import CommandError


class Holder:
    """Holds slots until told to let go."""

    def __init__(self, limit: int) -> None:
        self.slots = CommandSlots(limit)
        self.let_go = asyncio.Event()

    async def hold(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        with self.slots.occupied(task):
            await self.let_go.wait()


async def test_the_one_too_many_is_busy_and_may_come_again() -> None:
    holder = Holder(limit=2)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(2):
            tasks.create_task(holder.hold())
        await asyncio.sleep(0)
        assert holder.slots.load == 1.0
        with pytest.raises(CommandError, match="2 commands") as refused:
            await holder.hold()
        assert (refused.value.code, refused.value.retryable) == ("busy", True)
        holder.let_go.set()
    assert holder.slots.load == 0.0
    await holder.hold()


async def test_idle_waits_for_the_last_one() -> None:
    holder = Holder(limit=2)
    await holder.slots.idle()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(holder.hold())
        await asyncio.sleep(0)
        idle = tasks.create_task(holder.slots.idle())
        await asyncio.sleep(0)
        assert not idle.done()
        holder.let_go.set()


async def test_what_is_not_finished_after_the_grace_is_cancelled() -> None:
    holder = Holder(limit=2)
    async with asyncio.TaskGroup() as tasks:
        held = [tasks.create_task(holder.hold()) for _ in range(2)]
        await asyncio.sleep(0)
        await holder.slots.finish(0.01)
    assert all(task.cancelled() for task in held)
