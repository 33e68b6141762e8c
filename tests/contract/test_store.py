"""What every store promises."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from agent_manager.domain.agents import Agent, PackageStatus
from agent_manager.domain.errors import AgentManagerError, ConflictError
from agent_manager.domain.events import Event
from agent_manager.domain.exits import LastLines
from agent_manager.domain.lifecycle import Lifecycle
from agent_manager.ports.store import Store, Transaction
from tests.contract.store_values import agent, event, exit_, instance, package, stopped


def _save(saved: Agent) -> Callable[[Transaction], None]:
    return lambda t: t.save_agent(saved)


def _append(message: str, *, fail: bool = False) -> Callable[[Transaction], Event]:
    def work(t: Transaction) -> Event:
        added = t.append_event(event(message))
        if fail:
            raise ConflictError(message)
        return added

    return work


# ---------------------------------------------------------------- agents


async def test_an_agent_comes_back_as_it_was_saved(store: Store) -> None:
    await store.write(_save(agent()))
    assert await store.read(lambda t: t.agent("echo")) == agent()


async def test_an_unknown_agent_is_none(store: Store) -> None:
    assert await store.read(lambda t: t.agent("echo")) is None
    assert list(await store.read(lambda t: t.agents())) == []


async def test_saving_an_agent_again_replaces_it(store: Store) -> None:
    changed = replace(agent(), lifecycle=Lifecycle.PAUSED, available=False, config={}, replicas=0)
    await store.write(_save(agent()))
    await store.write(lambda t: t.save_agent(changed))
    assert list(await store.read(lambda t: t.agents())) == [changed]


async def test_agents_are_ordered_by_id(store: Store) -> None:
    for name in ("b", "c", "a-2", "a"):
        await store.write(_save(agent(name)))
    assert [a.id for a in await store.read(lambda t: t.agents())] == ["a", "a-2", "b", "c"]


# ---------------------------------------------------------------- packages


async def test_a_package_comes_back_as_it_was_saved(store: Store) -> None:
    unread = replace(package("broken"), agent_id=None, spec=None)
    await store.write(lambda t: t.save_package(package()))
    await store.write(lambda t: t.save_package(unread))
    assert list(await store.read(lambda t: t.packages())) == [unread, package()]


async def test_packages_are_known_by_node_and_name_and_ordered_by_both(store: Store) -> None:
    def save(t: Transaction) -> None:
        for node_id, name in (("node-2", "a"), ("node-1", "b"), ("node-1", "a")):
            t.save_package(package(name, node_id=node_id))
        t.save_package(replace(package("a", node_id="node-2"), status=PackageStatus.UNAVAILABLE))

    await store.write(save)
    found = await store.read(lambda t: t.packages())
    assert [(p.node_id, p.name) for p in found] == [("node-1", "a"), ("node-1", "b"), ("node-2", "a")]
    assert found[2].status is PackageStatus.UNAVAILABLE
    assert await store.read(lambda t: t.package("node-2", "a")) == found[2]
    assert await store.read(lambda t: t.package("node-2", "b")) is None


async def test_removing_a_package_leaves_that_of_another_node(store: Store) -> None:
    def work(t: Transaction) -> None:
        t.save_package(package(node_id="node-1"))
        t.save_package(package(node_id="node-2"))
        t.remove_package("node-1", "echo")
        t.remove_package("node-1", "unknown")

    await store.write(work)
    assert [p.node_id for p in await store.read(lambda t: t.packages())] == ["node-2"]


async def test_a_folder_with_a_name_that_is_no_text_can_be_recorded(store: Store) -> None:
    odd = replace(package("caf\udce9"), path="/packages/caf\udce9\0")
    await store.write(lambda t: t.save_package(odd))
    await store.write(lambda t: t.save_package(odd))
    assert [(p.name, p.path) for p in await store.read(lambda t: t.packages())] == [
        ("caf\\udce9", "/packages/caf\\udce9\\x00")
    ]


# ---------------------------------------------------------------- instances


async def test_an_instance_comes_back_as_it_was_observed(store: Store) -> None:
    await store.write(_save(agent()))
    assert await store.write(lambda t: t.observe(instance(), "node-1"))
    assert list(await store.read(lambda t: t.instances())) == [instance()]


async def test_the_last_observation_counts(store: Store) -> None:
    def work(t: Transaction) -> None:
        t.save_agent(agent())
        t.observe(instance(), "node-1")
        t.observe(stopped(instance()), "node-1")

    await store.write(work)
    assert list(await store.read(lambda t: t.instances("echo"))) == [stopped(instance())]


async def test_instances_are_ordered_by_agent_and_ordinal_and_can_be_had_of_one_agent(store: Store) -> None:
    def work(t: Transaction) -> None:
        for name in ("b", "a"):
            t.save_agent(agent(name, replicas=11))
            for ordinal in (10, 2, 0):
                t.observe(instance(name, ordinal), "node-1")

    await store.write(work)
    assert [i.id for i in await store.read(lambda t: t.instances())] == ["a_0", "a_2", "a_10", "b_0", "b_2", "b_10"]
    assert [i.id for i in await store.read(lambda t: t.instances("b"))] == ["b_0", "b_2", "b_10"]


async def test_a_forgotten_instance_is_gone_and_its_siblings_are_not(store: Store) -> None:
    def work(t: Transaction) -> None:
        t.save_agent(agent(replicas=2))
        t.observe(instance(ordinal=0), "node-1")
        t.observe(instance(ordinal=1), "node-1")
        t.forget_instance("echo", 1)
        t.forget_instance("echo", 7)

    await store.write(work)
    assert [i.ordinal for i in await store.read(lambda t: t.instances())] == [0]


# ---------------------------------------------------------------- epochs


@pytest.mark.parametrize("epoch", [1, 3])
async def test_an_observation_of_another_epoch_changes_nothing(store: Store, epoch: int) -> None:
    def work(t: Transaction) -> None:
        t.save_agent(agent(epoch=2))
        t.observe(instance(epoch=2), "node-1")

    await store.write(work)
    assert not await store.write(lambda t: t.observe(stopped(instance(epoch=epoch)), "node-2"))
    assert list(await store.read(lambda t: t.instances())) == [instance(epoch=2)]


async def test_a_node_that_was_superseded_can_write_no_more_and_its_successor_can(store: Store) -> None:
    await store.write(_save(agent()))
    assert await store.write(lambda t: t.observe(instance(), "node-1"))
    await store.write(_save(replace(agent(epoch=2), node_id="node-2")))
    assert not await store.write(lambda t: t.observe(stopped(instance()), "node-1"))
    assert list(await store.read(lambda t: t.instances())) == [instance()]
    assert await store.write(lambda t: t.observe(stopped(instance(epoch=2)), "node-2"))
    assert list(await store.read(lambda t: t.instances())) == [stopped(instance(epoch=2))]


async def test_without_a_placement_nothing_can_be_observed(store: Store) -> None:
    assert not await store.write(lambda t: t.observe(instance(), "node-1"))
    assert list(await store.read(lambda t: t.instances())) == []


async def test_an_agent_has_as_many_placements_as_replicas(store: Store) -> None:
    def placed(t: Transaction) -> list[bool]:
        return [t.observe(instance(ordinal=ordinal), "node-1") for ordinal in range(4)]

    for replicas in (2, 3, 1, 0, 2):
        await store.write(_save(agent(replicas=replicas)))
        assert await store.write(placed) == [ordinal < replicas for ordinal in range(4)]


async def test_an_agent_that_was_read_in_the_same_unit_gets_its_placements_too(store: Store) -> None:
    def change(t: Transaction) -> list[bool]:
        read = t.agent("echo")
        assert read is not None
        t.save_agent(read)
        t.save_agent(replace(read, replicas=3))
        t.save_agent(replace(read, replicas=1, epoch=2))
        return [t.observe(instance(ordinal=ordinal, epoch=2), "node-1") for ordinal in range(2)]

    await store.write(_save(agent(replicas=2)))
    assert await store.write(change) == [True, False]


async def test_the_row_of_an_instance_without_a_placement_stays_until_it_is_forgotten(store: Store) -> None:
    def work(t: Transaction) -> None:
        t.save_agent(agent(replicas=2))
        t.observe(instance(ordinal=1), "node-1")
        t.save_agent(agent(replicas=1))

    await store.write(work)
    assert list(await store.read(lambda t: t.instances())) == [instance(ordinal=1)]


# ---------------------------------------------------------------- exits


async def test_an_exit_comes_back_as_it_was_recorded(store: Store) -> None:
    assert await store.write(lambda t: t.record_exit("echo", 0, "node-1", exit_()))
    assert list(await store.read(lambda t: t.exits("echo", 10))) == [exit_()]


async def test_the_exit_of_a_launch_is_kept_once(store: Store) -> None:
    again = replace(exit_(), message="said differently")
    await store.write(lambda t: t.record_exit("echo", 0, "node-1", exit_()))
    assert not await store.write(lambda t: t.record_exit("echo", 0, "node-1", again))
    assert list(await store.read(lambda t: t.exits("echo", 10))) == [exit_()]


async def test_last_lines_are_added_to_the_exit_they_belong_to(store: Store) -> None:
    later = replace(
        exit_(),
        message="said differently",
        last_lines=LastLines(out=("one", "two"), err=("\0 \x1b \N{REPLACEMENT CHARACTER}",)),
    )
    await store.write(lambda t: t.record_exit("echo", 0, "node-1", exit_()))
    await store.write(lambda t: t.record_exit("echo", 0, "node-1", exit_("launch-2", at=1.0)))
    assert not await store.write(lambda t: t.record_exit("echo", 0, "node-1", later))
    kept = list(await store.read(lambda t: t.exits("echo", 10)))
    assert kept == [replace(exit_(), last_lines=later.last_lines), exit_("launch-2", at=1.0)]


async def test_exits_are_those_of_one_agent_newest_first_and_limited(store: Store) -> None:
    def work(t: Transaction) -> None:
        for number, at in enumerate((30.0, 10.0, 20.0, 30.0)):
            t.record_exit("echo", number, "node-1", exit_(f"launch-{number}", at=at, incarnation=number))
        t.record_exit("other", 0, "node-1", exit_("launch-of-other", at=40.0))

    await store.write(work)
    assert [e.launch_id for e in await store.read(lambda t: t.exits("echo", 3))] == ["launch-3", "launch-0", "launch-2"]


async def record_exits(store: Store, *moments: float, agent_id: str = "echo") -> None:
    def work(t: Transaction) -> None:
        for at in moments:
            t.record_exit(agent_id, 0, "node-1", exit_(f"{agent_id}-{at:g}", at=at))

    await store.write(work)


async def moments_of_exits(store: Store, agent_id: str = "echo") -> list[float]:
    return [e.at for e in reversed(await store.read(lambda t: t.exits(agent_id, 1000)))]


def _trim_exits(**limits: float) -> Callable[[Transaction], int]:
    wanted: dict[str, Any] = {"before": 0.0, "keep": 100, "settled": 1000.0, "limit": 100, **limits}
    return lambda t: t.trim_exits("echo", **wanted)


@pytest.mark.parametrize(
    ("limits", "kept"),
    [
        ({}, [10.0, 20.0, 30.0, 40.0, 50.0]),
        ({"before": 30.0}, [30.0, 40.0, 50.0]),
        ({"before": 1000.0}, []),
        ({"keep": 2}, [40.0, 50.0]),
        ({"keep": 5}, [10.0, 20.0, 30.0, 40.0, 50.0]),
        ({"keep": 4, "before": 30.0}, [30.0, 40.0, 50.0]),
        ({"keep": 1, "before": 30.0}, [50.0]),
        ({"keep": 1, "settled": 20.0}, [20.0, 30.0, 40.0, 50.0]),
        ({"before": 1000.0, "settled": 40.0}, [40.0, 50.0]),
        ({"before": 1000.0, "limit": 2}, [30.0, 40.0, 50.0]),
    ],
)
async def test_exits_go_that_are_old_or_too_many_but_for_what_is_not_settled(
    store: Store, limits: dict[str, float], kept: list[float]
) -> None:
    await record_exits(store, 30.0, 10.0, 50.0, 20.0, 40.0)
    await record_exits(store, 10.0, agent_id="other")
    assert await store.write(_trim_exits(**limits)) == 5 - len(kept)
    assert await moments_of_exits(store) == kept
    assert await moments_of_exits(store, "other") == [10.0]


async def test_of_exits_of_one_moment_no_more_go_than_may(store: Store) -> None:
    def work(t: Transaction) -> None:
        for number in range(4):
            t.record_exit("echo", number, "node-1", exit_(f"launch-{number}", at=10.0))

    await store.write(work)
    assert await store.write(_trim_exits(keep=2)) == 0
    assert await store.write(_trim_exits(before=11.0, limit=3)) == 3


async def test_agents_with_exits_are_read_in_order_and_limited(store: Store) -> None:
    assert list(await store.read(lambda t: t.agents_with_exits("", 10))) == []
    for agent_id in ("b", "a-2", "c", "a", "B"):
        await record_exits(store, 1.0, 2.0, agent_id=agent_id)
    assert list(await store.read(lambda t: t.agents_with_exits("", 10))) == ["B", "a", "a-2", "b", "c"]
    assert list(await store.read(lambda t: t.agents_with_exits("a", 2))) == ["a-2", "b"]
    assert list(await store.read(lambda t: t.agents_with_exits("c", 2))) == []


# ---------------------------------------------------------------- events


async def test_an_event_comes_back_with_its_sequence(store: Store) -> None:
    added = await store.write(lambda t: t.append_event(event()))
    assert added == replace(event(), sequence=added.sequence)
    assert added.sequence is not None
    assert list(await store.read(lambda t: t.events(0, 10))) == [added]


async def test_events_are_read_oldest_first_after_a_sequence_and_limited(store: Store) -> None:
    added = await store.write(lambda t: [t.append_event(event(str(number))) for number in range(5)])
    sequences = [e.sequence or 0 for e in added]
    assert sequences == sorted(set(sequences))
    assert list(await store.read(lambda t: t.events(sequences[1], 2))) == added[2:4]
    assert list(await store.read(lambda t: t.events(sequences[4], 2))) == []


async def test_events_written_at_the_same_time_have_numbers_of_their_own(store: Store) -> None:
    added = await asyncio.gather(*(store.write(_append(str(number))) for number in range(50)))
    kept = await store.read(lambda t: t.events(0, 100))
    assert sorted(e.message for e in kept) == sorted(str(number) for number in range(50))
    assert {e.message: e.sequence for e in kept} == {e.message: e.sequence for e in added}


async def test_events_are_unpublished_until_they_have_a_number(store: Store) -> None:
    added = await store.write(lambda t: [t.append_event(event(str(number))) for number in range(4)])
    sequences = [e.sequence or 0 for e in added]
    assert list(await store.read(lambda t: t.unpublished_events(3))) == added[:3]
    await store.write(lambda t: t.mark_published({sequences[0]: 11, sequences[2]: 12}))
    assert list(await store.read(lambda t: t.unpublished_events(10))) == [added[1], added[3]]


async def test_published_events_are_read_in_the_order_of_their_numbers(store: Store) -> None:
    added = await store.write(lambda t: [t.append_event(event(str(number))) for number in range(4)])
    numbers = dict(zip([e.sequence or 0 for e in added], (13, 11, 12, 14), strict=True))
    await store.write(lambda t: t.mark_published(numbers))
    await store.write(lambda t: t.mark_published({}))
    found = await store.read(lambda t: (list(t.published_events(0, 3)), list(t.published_events(12, 10))))
    assert [[(e.number, e.message) for e in events] for events in found] == [
        [(11, "1"), (12, "2"), (13, "0")],
        [(13, "0"), (14, "3")],
    ]


async def test_the_ends_of_what_has_a_number_are_known(store: Store) -> None:
    assert await store.read(lambda t: (t.last_event_number(), t.first_event_number(since=0.0))) == (0, None)
    added = await store.write(lambda t: [t.append_event(replace(event(str(n)), at=10.0 * n)) for n in range(4)])
    await store.write(lambda t: t.mark_published({e.sequence or 0: place for place, e in enumerate(added[:3], 7)}))
    found = await store.read(
        lambda t: (t.last_event_number(), [t.first_event_number(since=since) for since in (0.0, 10.0, 15.0, 25.0)])
    )
    assert found == (9, [7, 8, 9, None])


async def test_an_event_keeps_the_number_it_has(store: Store) -> None:
    sequence = (await store.write(_append("once"))).sequence or 0
    await store.write(lambda t: t.mark_published({sequence: 7}))
    await store.write(lambda t: t.mark_published({sequence: 8}))
    assert [e.number for e in await store.read(lambda t: t.events(0, 10))] == [7]


async def publish_events(store: Store, *moments: float, first: int = 1) -> None:
    """Events that happened then, with the numbers from `first` on."""

    def work(t: Transaction) -> None:
        added = [t.append_event(replace(event(), at=at)) for at in moments]
        t.mark_published({e.sequence or 0: number for number, e in enumerate(added, first)})

    await store.write(work)


def _trim_events(**limits: float) -> Callable[[Transaction], int]:
    wanted: dict[str, Any] = {"through": 1000, "before": 0.0, "keep": 100, "limit": 100, **limits}
    return lambda t: t.trim_events(**wanted)


@pytest.mark.parametrize(
    ("limits", "gone"),
    [
        ({}, 0),
        ({"before": 30.0}, 2),
        ({"before": 1000.0}, 4),
        ({"keep": 3}, 2),
        ({"keep": 1}, 4),
        ({"keep": 5}, 0),
        ({"keep": 4, "before": 40.0}, 3),
        ({"keep": 2, "before": 20.0}, 3),
        ({"keep": 1, "through": 12}, 2),
        ({"before": 1000.0, "through": 0}, 0),
        ({"before": 1000.0, "limit": 2}, 2),
    ],
)
async def test_events_go_that_are_old_or_too_many_but_for_the_last_and_what_is_not_published(
    store: Store, limits: dict[str, float], gone: int
) -> None:
    await publish_events(store, 10.0, 20.0, 30.0, 40.0, 50.0, first=11)
    waiting = await store.write(lambda t: t.append_event(replace(event(), at=1.0)))
    assert await store.write(_trim_events(**limits)) == gone
    kept = await store.read(lambda t: t.published_events(0, 100))
    assert [e.number for e in kept] == list(range(11, 16))[gone:]
    assert list(await store.read(lambda t: t.unpublished_events(10))) == [waiting]
    assert await store.read(lambda t: t.last_event_number()) == 15


async def test_an_old_event_after_a_young_one_stays_so_that_there_is_no_gap(store: Store) -> None:
    await publish_events(store, 10.0, 50.0, 20.0, 60.0)
    assert await store.write(_trim_events(before=40.0)) == 1
    assert [e.number for e in await store.read(lambda t: t.published_events(0, 100))] == [2, 3, 4]


async def test_trimming_where_there_is_nothing_deletes_nothing(store: Store) -> None:
    assert await store.write(_trim_events(before=1000.0)) == 0
    assert await store.write(_trim_exits(before=1000.0)) == 0


async def test_events_that_come_while_others_go_are_all_kept(store: Store) -> None:
    await publish_events(store, *([1.0] * 60))

    async def trim() -> int:
        return sum([await store.write(_trim_events(before=2.0, limit=5)) for _ in range(20)])

    async with asyncio.TaskGroup() as group:
        trimming = group.create_task(trim())
        added = await asyncio.gather(*(store.write(_append(str(number))) for number in range(40)))
    assert trimming.result() == 59
    kept = await store.read(lambda t: t.unpublished_events(100))
    assert sorted(e.sequence or 0 for e in kept) == sorted(e.sequence or 0 for e in added)


async def test_two_that_trim_at_the_same_time_delete_each_record_once(store: Store) -> None:
    await publish_events(store, *([1.0] * 41))
    await record_exits(store, *map(float, range(40)))
    trims = [trim for _ in range(8) for trim in (_trim_events(before=2.0, limit=5), _trim_exits(before=50.0, limit=5))]
    deleted = await asyncio.gather(*map(store.write, trims))
    assert (sum(deleted[0::2]), sum(deleted[1::2])) == (40, 40)
    assert [e.number for e in await store.read(lambda t: t.published_events(0, 100))] == [41]
    assert await moments_of_exits(store) == []


async def test_whoever_follows_published_events_misses_none_whatever_the_order_of_commits(store: Store) -> None:
    followed: list[str] = []
    last = 0

    def number(t: Transaction) -> None:
        t.mark_published({e.sequence or 0: last + place for place, e in enumerate(t.unpublished_events(100), 1)})

    def new_ones(t: Transaction) -> list[Event]:
        return list(t.published_events(last, 1000))

    async with asyncio.TaskGroup() as group:
        writing = [group.create_task(store.write(_append(str(n)))) for n in range(100)]
        while len(followed) < len(writing):
            await store.write(number)
            new = await store.read(new_ones)
            followed += [e.message for e in new]
            last += len(new)
    assert sorted(followed, key=int) == [str(n) for n in range(100)]


# ---------------------------------------------------------------- units of work


async def test_a_unit_returns_its_result_and_sees_its_own_writes(store: Store) -> None:
    def work(t: Transaction) -> int:
        t.save_agent(agent())
        return len(t.agents())

    assert await store.write(work) == 1


async def test_a_unit_that_raises_leaves_nothing_and_its_exception_reaches_its_caller(store: Store) -> None:
    refusal = ConflictError("no")

    def work(t: Transaction) -> None:
        t.save_agent(agent())
        t.append_event(event())
        raise refusal

    with pytest.raises(ConflictError) as raised:
        await store.write(work)
    assert raised.value is refusal
    assert await store.read(lambda t: (list(t.agents()), list(t.events(0, 10)))) == ([], [])


async def test_a_unit_that_raises_does_not_disturb_those_beside_it(store: Store) -> None:
    outcomes = await asyncio.gather(
        *(store.write(_append(str(number), fail=number % 3 == 0)) for number in range(60)), return_exceptions=True
    )
    assert [isinstance(outcome, ConflictError) for outcome in outcomes] == [number % 3 == 0 for number in range(60)]
    kept = await store.read(lambda t: t.events(0, 100))
    assert sorted(int(e.message) for e in kept) == [number for number in range(60) if number % 3]


async def test_a_statement_the_database_refuses_undoes_its_unit_alone(store: Store) -> None:
    def work(t: Transaction) -> None:
        t.append_event(event("before"))
        t.append_event(replace(event(), message=None))  # type: ignore[arg-type]

    outcomes = await asyncio.gather(
        store.write(_append("a")), store.write(work), store.write(_append("b")), return_exceptions=True
    )
    assert [isinstance(outcome, Exception) for outcome in outcomes] == [False, True, False]
    assert {e.message for e in await store.read(lambda t: t.events(0, 10))} == {"a", "b"}


async def test_a_unit_that_raises_stop_iteration_keeps_nobody_waiting(store: Store) -> None:
    def nothing_left(t: Transaction) -> object:
        return next(iter(t.agents()))

    for run in (store.write, store.read):
        with pytest.raises(RuntimeError, match="StopIteration"):
            await asyncio.wait_for(run(nothing_left), timeout=20)


async def test_a_caller_that_is_cancelled_does_not_disturb_the_others(store: Store) -> None:
    writes = [asyncio.create_task(store.write(_append(str(number)))) for number in range(40)]
    await asyncio.sleep(0)
    for write in writes[::2]:
        write.cancel()
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert [isinstance(outcome, asyncio.CancelledError) for outcome in outcomes] == [True, False] * 20
    kept = {e.message for e in await store.read(lambda t: t.events(0, 100))}
    assert kept >= {str(number) for number in range(1, 40, 2)}


async def test_a_read_may_not_write(store: Store) -> None:
    with pytest.raises(AgentManagerError, match=r"write\(\)"):
        await store.read(lambda t: t.append_event(event()))
    assert list(await store.read(lambda t: t.events(0, 10))) == []
    await store.write(lambda t: t.append_event(event()))


async def test_a_read_sees_all_of_a_unit_or_nothing(store: Store) -> None:
    def change(t: Transaction) -> None:
        known = len(t.events(0, 1000))
        t.append_event(event())
        t.save_agent(replace(agent(), start_serial=known + 1))

    def look(t: Transaction) -> tuple[int, int, int]:
        found = t.agent("echo")
        return found.start_serial if found else 0, len(t.events(0, 1000)), len(t.events(0, 1000))

    async def looks() -> list[tuple[int, int, int]]:
        return [await store.read(look) for _ in range(30)]

    async with asyncio.TaskGroup() as group:
        looking = [group.create_task(looks()) for _ in range(2)]
        for _ in range(60):
            group.create_task(store.write(change))
    assert [len(set(numbers)) for task in looking for numbers in task.result()] == [1] * 60


async def test_what_a_write_returned_for_is_seen_by_every_later_read(store: Store) -> None:
    for number in range(20):
        added = await store.write(_append(str(number)))
        assert (await store.read(lambda t: t.events(0, 100)))[-1] == added
