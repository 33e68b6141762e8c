"""Write-behind: order, what is announced and acknowledged when, and a store that is away."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from agent_manager.domain.exits import Exit, ExitReason
from agent_manager.domain.instances import Instance, InstanceStatus, Target
from agent_manager.ports.store import Transaction
from agent_manager.services import journal as journal_module
from tests.harness.domain import SPEC, agent
from tests.harness.waiting import eventually
from tests.unit.services.bench import Bench


def instance(status: InstanceStatus = InstanceStatus.RUNNING, *, reason: str = "ready", epoch: int = 1) -> Instance:
    return Instance(
        agent_id="echo", ordinal=0, target=Target(run=True, spec=SPEC), status=status, reason=reason, epoch=epoch
    )


def exit_(launch_id: str) -> Exit:
    return Exit(launch_id=launch_id, incarnation=1, reason=ExitReason.CRASH, message="exited with code 1", at=1.0)


def unwritable(launch_id: str) -> Exit:
    """An exit with a number that no database keeps."""
    return replace(exit_(launch_id), incarnation=2**80)


async def written(bench: Bench) -> list[tuple[str, str]]:
    events = await bench.store.read(lambda transaction: transaction.events(0, 1_000))
    return [(event.type, event.message) for event in events]


async def test_facts_are_written_and_announced_in_the_order_in_which_they_happened(bench: Bench) -> None:
    await bench.save(agent())
    bench.journal.changed(instance(InstanceStatus.STARTING, reason="one"))
    bench.journal.exited(instance(), exit_("launch1"))
    bench.journal.changed(instance(InstanceStatus.BACKOFF, reason="two"))
    bench.journal.changed(instance(InstanceStatus.STARTING, reason="three"))
    bench.tasks.create_task(bench.journal.run())
    await bench.journal.flushed()
    expected = [("starting", "one"), ("exited", "exited with code 1"), ("backoff", "two"), ("starting", "three")]
    assert await written(bench) == expected
    assert [(event.type, event.message) for event in bench.announcer.events] == expected
    assert [event.sequence for event in bench.announcer.events] == [1, 2, 3, 4]
    (stored,) = await bench.store.read(lambda transaction: transaction.instances())
    assert stored.reason == "three"


async def test_what_never_ceases_is_written_all_the_same(bench: Bench) -> None:
    await bench.save(agent())
    bench.tasks.create_task(bench.journal.run())

    async def one_more_and_one_written() -> bool:
        bench.journal.changed(instance())
        return bool(bench.announcer.events)

    await eventually(one_more_and_one_written)


async def test_what_comes_together_is_written_together(bench: Bench) -> None:
    await bench.save(agent())
    bench.tasks.create_task(bench.journal.run())
    bench.journal.changed(instance(reason="one"))
    await asyncio.sleep(0)
    bench.journal.changed(instance(reason="two"))
    written_before = bench.store.writes
    await bench.journal.flushed()
    assert bench.store.writes == written_before + 1
    assert [message for _, message in await written(bench)] == ["one", "two"]


async def test_a_status_is_said_at_once_an_event_only_when_it_is_committed(bench: Bench) -> None:
    bench.store.away = True
    bench.tasks.create_task(bench.journal.run())
    bench.journal.changed(instance())
    await eventually(lambda: bench.store.refused)
    assert [seen.reason for seen in bench.announcer.statuses] == ["ready"]
    assert bench.announcer.events == []


async def test_while_the_store_is_away_nothing_is_lost_and_nothing_acknowledged(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "RETRY_S", 0.01)
    await bench.save(agent())
    bench.store.away = True
    bench.tasks.create_task(bench.journal.run())
    bench.journal.changed(instance(reason="one"))
    bench.journal.exited(instance(), exit_("launch1"))
    await eventually(lambda: bench.store.refused >= 2)
    bench.journal.changed(instance(reason="two"))
    bench.journal.exited(instance(), exit_("launch2"))
    await eventually(lambda: bench.store.refused >= 4)
    assert bench.launcher.acknowledged == []
    bench.store.away = False
    await bench.journal.flushed()
    messages = [message for _, message in await written(bench)]
    assert messages == ["one", "exited with code 1", "two", "exited with code 1"]
    assert bench.launcher.acknowledged == ["launch1", "launch2"]
    (stored,) = await bench.store.read(lambda transaction: transaction.instances())
    assert stored.reason == "ready"


async def test_an_exit_that_is_kept_already_is_acknowledged_again_but_told_once(bench: Bench) -> None:
    bench.tasks.create_task(bench.journal.run())
    for _ in range(2):
        bench.journal.exited(instance(), exit_("launch1"))
        await bench.journal.flushed()
    assert bench.launcher.acknowledged == ["launch1", "launch1"]
    assert bench.announcer.types == ["exited"]


async def test_a_superseded_observation_stops_no_other(bench: Bench) -> None:
    await bench.save(agent(), replace(agent("other"), epoch=2))
    bench.tasks.create_task(bench.journal.run())
    bench.journal.changed(replace(instance(reason="superseded"), agent_id="other"))
    bench.journal.changed(replace(instance(reason="never placed"), agent_id="nobody"))
    bench.journal.changed(instance(reason="fine"))
    await bench.journal.flushed()
    stored = await bench.store.read(lambda transaction: transaction.instances())
    assert [seen.reason for seen in stored] == ["fine"]


async def test_beyond_its_bound_the_oldest_facts_are_dropped_counted_and_never_acknowledged(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(journal_module, "MAX_PENDING", 3)
    monkeypatch.setattr(journal_module, "RETRY_S", 0.01)
    bench.store.away = True
    bench.tasks.create_task(bench.journal.run())
    for number in range(3):
        bench.journal.exited(instance(), exit_(f"launch{number}"))
    await eventually(lambda: bench.store.refused)
    for number in range(3, 5):
        bench.journal.exited(instance(), exit_(f"launch{number}"))
    bench.store.away = False
    await bench.journal.flushed()
    assert bench.launcher.acknowledged == ["launch2", "launch3", "launch4"]
    (lost,) = [record for record in caplog.records if record.message == "observations_lost"]
    assert lost.__dict__["count"] == 2


async def test_a_retired_slot_is_released_after_its_exit_was_acknowledged(bench: Bench) -> None:
    await bench.save(agent())
    order: list[str] = []
    bench.journal.on_released(lambda name: order.append(f"{name} after {bench.launcher.acknowledged}"))
    bench.journal.exited(instance(), exit_("launch1"))
    bench.journal.retired(instance())
    assert bench.launcher.released == []
    bench.tasks.create_task(bench.journal.run())
    await bench.journal.flushed()
    assert bench.launcher.released == ["echo_0"]
    assert order == ["echo_0 after ['launch1']"]
    assert await bench.store.read(lambda transaction: transaction.instances()) == []


async def test_with_nothing_noted_there_is_nothing_to_wait_for(bench: Bench) -> None:
    await bench.journal.flushed()
    assert bench.store.writes == 0


async def test_what_cannot_be_written_is_dropped_alone_and_its_exit_does_not_come_back(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    await bench.save(agent())
    bench.journal.changed(instance(reason="one"))
    bench.journal.exited(instance(), unwritable("launch1"))
    bench.journal.changed(instance(reason="two"))
    bench.journal.exited(instance(), exit_("launch2"))
    bench.tasks.create_task(bench.journal.run())
    await bench.journal.flushed()
    assert [message for _, message in await written(bench)] == ["one", "two", "exited with code 1"]
    assert bench.launcher.acknowledged == ["launch1", "launch2"]
    (said,) = [record for record in caplog.records if record.message == "observation_unwritable"]
    assert said.exc_info is not None
    (stored,) = await bench.store.read(lambda transaction: transaction.instances())
    assert stored.reason == "ready"


async def test_a_row_that_cannot_be_read_does_not_hold_up_the_rest(bench: Bench) -> None:
    def write_what_a_newer_version_writes(transaction: Transaction) -> None:
        transaction.save_agent(replace(agent(), lifecycle="of a newer version"))  # type: ignore[arg-type]

    await bench.store.write(write_what_a_newer_version_writes)
    bench.journal.noted(replace(instance(), ordinal=agent().replicas))
    bench.journal.changed(instance(reason="one"))
    bench.journal.exited(instance(), exit_("launch1"))
    bench.tasks.create_task(bench.journal.run())
    await bench.journal.flushed()
    assert [message for _, message in await written(bench)] == ["one", "exited with code 1"]
    assert bench.launcher.acknowledged == ["launch1"]


async def test_a_store_that_goes_away_while_things_are_written_one_by_one_gets_the_rest_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "RETRY_S", 0.01)
    bench.journal.exited(instance(), exit_("launch1"))
    bench.journal.exited(instance(), unwritable("launch2"))
    bench.journal.exited(instance(), exit_("launch3"))
    acknowledge = bench.launcher.acknowledge

    def away_after_the_first(instance_id: str, launch_id: str) -> None:
        acknowledge(instance_id, launch_id)
        bench.store.away = launch_id == "launch1"

    monkeypatch.setattr(bench.launcher, "acknowledge", away_after_the_first)
    bench.tasks.create_task(bench.journal.run())
    await eventually(lambda: bench.store.refused >= 2)
    assert bench.launcher.acknowledged == ["launch1"]
    bench.store.away = False
    await bench.journal.flushed()
    assert bench.launcher.acknowledged == ["launch1", "launch2", "launch3"]


async def test_a_store_that_is_away_is_said_once_and_once_that_it_is_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(journal_module, "RETRY_S", 0.01)
    bench.store.away = True
    bench.journal.exited(instance(), exit_("launch1"))
    bench.tasks.create_task(bench.journal.run())
    await eventually(lambda: bench.store.refused >= 3)
    bench.store.away = False
    await bench.journal.flushed()
    said = [record.message for record in caplog.records if record.message.startswith("observations_")]
    assert said == ["observations_delayed", "observations_written"]


async def test_only_a_newer_epoch_supersedes_not_a_placement_that_is_gone(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    await bench.save(replace(agent(), epoch=2))
    bench.journal.changed(replace(instance(), ordinal=5))
    bench.journal.changed(instance())
    bench.tasks.create_task(bench.journal.run())
    await bench.journal.flushed()
    said = [r.__dict__["instance_id"] for r in caplog.records if r.message == "observation_superseded"]
    assert said == ["echo_0"]
