"""What every store promises of names that one alone holds."""

from __future__ import annotations

import asyncio

import pytest

from agent_manager.domain.errors import ConflictError
from agent_manager.ports.store import Store
from tests.contract.store_values import event
from tests.harness.waiting import eventually


class _Holder:
    """Holds a name until it is told to let go, in a task of its own."""

    def __init__(self, store: Store, name: str = "publisher") -> None:
        self.holds = asyncio.Event()
        self.let_go = asyncio.Event()
        self.task = asyncio.create_task(self._run(store, name))

    async def _run(self, store: Store, name: str) -> None:
        async with store.hold(name):
            self.holds.set()
            await self.let_go.wait()
        self.holds.clear()

    async def end(self) -> None:
        self.let_go.set()
        await asyncio.wait_for(self.task, 20)


async def test_a_name_is_held_by_one_alone_and_then_by_the_next(store: Store) -> None:
    first = _Holder(store)
    await asyncio.wait_for(first.holds.wait(), 20)
    second = _Holder(store)
    # It has had every opportunity by the time another name was taken and left.
    async with store.hold("another"):
        pass
    assert not second.holds.is_set()
    await first.end()
    await asyncio.wait_for(second.holds.wait(), 20)
    await second.end()


async def test_at_no_moment_two_hold_a_name(store: Store) -> None:
    holding, most = 0, 0

    async def hold() -> None:
        nonlocal holding, most
        async with store.hold("publisher"):
            holding += 1
            most = max(most, holding)
            await store.write(lambda t: t.append_event(event()))
            holding -= 1

    await asyncio.gather(*(hold() for _ in range(4)))
    assert (holding, most) == (0, 1)


async def test_names_are_held_independently_of_each_other(store: Store) -> None:
    async with store.hold("publisher"), asyncio.timeout(20), store.hold("cron"):
        pass


async def test_an_exception_in_the_block_reaches_its_caller_and_lets_go(store: Store) -> None:
    with pytest.raises(ConflictError):
        async with store.hold("publisher"):
            raise ConflictError("no")
    async with asyncio.timeout(20), store.hold("publisher"):
        pass


async def test_a_timeout_in_the_block_is_what_it_says(store: Store) -> None:
    with pytest.raises(TimeoutError):
        async with store.hold("publisher"):
            raise TimeoutError("of something else")


async def test_whoever_is_cancelled_while_it_waits_or_holds_leaves_the_name_to_others(store: Store) -> None:
    holder = _Holder(store)
    await asyncio.wait_for(holder.holds.wait(), 20)
    waiter = _Holder(store)
    await asyncio.sleep(0)
    for one in (waiter, holder):
        one.task.cancel()
        await eventually(one.task.done)
        assert one.task.cancelled()
    async with asyncio.timeout(20), store.hold("publisher"):
        pass


async def test_work_goes_on_while_a_name_is_held(store: Store) -> None:
    async with store.hold("publisher"):
        added = await store.write(lambda t: t.append_event(event()))
        assert list(await store.read(lambda t: t.events(0, 10))) == [added]
