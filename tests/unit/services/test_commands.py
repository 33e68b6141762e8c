"""Commands: accepted means committed."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from agent_manager.domain.agents import Agent, ManifestFault, Package, PackageStatus
from agent_manager.domain.errors import ConflictError, InvalidRequestError, NotFoundError, UnavailableError
from agent_manager.domain.events import Event
from agent_manager.domain.lifecycle import Lifecycle
from tests.harness.domain import agent
from tests.harness.waiting import eventually
from tests.unit.services.bench import NODE, Bench


async def rows(bench: Bench) -> tuple[Agent | None, list[Event]]:
    return await bench.store.read(lambda transaction: (transaction.agent("echo"), list(transaction.events(0, 10))))


@pytest.mark.parametrize(
    ("verb", "before", "after", "serials"),
    [
        ("start", Lifecycle.READY, Lifecycle.ACTIVE, (1, 0)),
        ("start", Lifecycle.CREATED, Lifecycle.ACTIVE, (1, 0)),
        ("stop", Lifecycle.ACTIVE, Lifecycle.READY, (0, 0)),
        ("restart", Lifecycle.ACTIVE, Lifecycle.ACTIVE, (1, 1)),
        ("restart", Lifecycle.READY, Lifecycle.ACTIVE, (1, 1)),
    ],
)
async def test_what_is_accepted_is_committed_with_its_event_in_one_write(
    bench: Bench, verb: str, before: Lifecycle, after: Lifecycle, serials: tuple[int, int]
) -> None:
    await bench.save(agent(lifecycle=before))
    writes = bench.store.writes
    told = await getattr(bench.commands, verb)("echo", actor="ada", wait_s=0.0)
    assert told.done is False
    assert bench.store.writes == writes + 1
    changed, events = await rows(bench)
    assert changed is not None
    assert told.agent == changed
    assert changed.lifecycle is after
    assert (changed.start_serial, changed.restart_serial) == serials
    assert [(event.type, event.actor, event.data) for event in events] == [
        (f"{verb}_requested", "ada", {"lifecycle": after.value})
    ]
    assert bench.announcer.events == events


async def test_an_agent_nobody_knows_is_not_found(bench: Bench) -> None:
    with pytest.raises(NotFoundError, match="agent nobody not found"):
        await bench.commands.start("nobody", actor=None, wait_s=0.0)


async def test_what_can_be_no_agent_is_refused(bench: Bench) -> None:
    with pytest.raises(InvalidRequestError, match="'Not An Id'"):
        await bench.commands.stop("Not An Id", actor=None, wait_s=0.0)


async def test_whoever_asks_for_an_agent_that_its_package_cannot_become_is_told_why(bench: Bench) -> None:
    fault = ManifestFault(file="my_agent/agent.yaml", line=3, message="replicas must be a number")
    package = Package(
        name="my_agent",
        node_id=NODE,
        path="/packages/my_agent",
        agent_id=None,
        status=PackageStatus.INVALID,
        updated_at=1.0,
        faults=(fault,),
    )
    await bench.store.write(lambda transaction: transaction.save_package(package))
    with pytest.raises(NotFoundError) as refused:
        await bench.commands.start("my-agent", actor=None, wait_s=0.0)
    assert refused.value.message == (
        "agent my-agent not found: its package my_agent is invalid (my_agent/agent.yaml:3: replicas must be a number)"
    )


@pytest.mark.parametrize("verb", ["start", "stop", "restart"])
async def test_what_the_state_does_not_allow_is_a_conflict_that_names_it_and_changes_nothing(
    bench: Bench, verb: str
) -> None:
    gone = agent(lifecycle=Lifecycle.TERMINATED)
    await bench.save(gone)
    with pytest.raises(ConflictError) as refused:
        await getattr(bench.commands, verb)("echo", actor=None, wait_s=0.0)
    assert refused.value.detail == {"lifecycle": "terminated", "allowed": []}
    assert await rows(bench) == (gone, [])
    assert bench.announcer.events == []


async def test_while_the_store_is_away_nothing_is_accepted(bench: Bench) -> None:
    await bench.save(agent())
    bench.store.away = True
    with pytest.raises(UnavailableError):
        await bench.commands.stop("echo", actor=None, wait_s=0.0)
    assert bench.announcer.events == []


async def test_whoever_waits_is_told_when_every_instance_is_there(bench: Bench) -> None:
    await bench.save(replace(agent(lifecycle=Lifecycle.READY), replicas=2))
    bench.follow_desired_state()
    waiting = bench.tasks.create_task(bench.commands.start("echo", actor=None, wait_s=60.0))
    await bench.started("echo_0")
    await bench.started("echo_1")
    bench.heartbeat("echo_0")
    await eventually(lambda: bench.status("echo_0") == "running")
    assert not waiting.done()
    bench.heartbeat("echo_1")
    assert (await waiting).done is True


async def test_whoever_waits_for_a_restart_is_not_content_with_the_process_of_before(bench: Bench) -> None:
    await bench.save(agent())
    bench.follow_desired_state()
    await bench.started()
    bench.heartbeat()
    waiting = bench.tasks.create_task(bench.commands.restart("echo", actor=None, wait_s=60.0))
    await eventually(lambda: bench.instance().incarnation == 2)
    assert not waiting.done()
    await bench.started()
    bench.heartbeat()
    assert (await waiting).done is True


async def test_whoever_waits_is_told_that_an_instance_has_given_up(bench: Bench) -> None:
    await bench.save(agent(lifecycle=Lifecycle.READY))
    bench.follow_desired_state()
    waiting = bench.tasks.create_task(bench.commands.start("echo", actor=None, wait_s=300.0))
    await bench.started()
    bench.launcher.end("echo_0", code=78)
    assert (await asyncio.wait_for(waiting, 20.0)).done is False
    assert bench.status() == "error"


async def test_nobody_waits_for_those_that_are_held_back_by_one_that_has_given_up(bench: Bench) -> None:
    await bench.save(replace(agent(), replicas=2))
    bench.follow_desired_state()
    for name in ("echo_0", "echo_1"):
        await bench.started(name)
        bench.heartbeat(name)
    waiting = bench.tasks.create_task(bench.commands.restart("echo", actor=None, wait_s=300.0))
    await eventually(lambda: bench.instance("echo_0").incarnation == 2)
    await bench.started("echo_0")
    bench.launcher.end("echo_0", code=78)
    assert (await asyncio.wait_for(waiting, 20.0)).done is False
    assert bench.status("echo_1") == "running"


async def test_a_wait_that_is_too_short_changes_nothing_but_the_answer(bench: Bench) -> None:
    await bench.save(agent(lifecycle=Lifecycle.READY))
    bench.follow_desired_state()
    assert (await bench.commands.start("echo", actor=None, wait_s=0.05)).done is False
    await bench.started()
    bench.heartbeat()
    assert bench.status() == "running"


async def test_asking_for_what_is_there_already_is_done_at_once(bench: Bench) -> None:
    await bench.save(agent(lifecycle=Lifecycle.READY))
    bench.follow_desired_state()
    await bench.until("stopped")
    assert (await bench.commands.stop("echo", actor=None, wait_s=60.0)).done is True


async def test_a_start_of_what_runs_already_is_done_without_a_wait(bench: Bench) -> None:
    await bench.save(agent())
    bench.follow_desired_state()
    await bench.started()
    bench.heartbeat()
    # Nothing of the instance changes but the number of the command it has acted on.
    assert (await asyncio.wait_for(bench.commands.start("echo", actor=None, wait_s=300.0), 20.0)).done is True
