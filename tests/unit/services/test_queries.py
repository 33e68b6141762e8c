"""Queries: what is known, from memory where this node knows better than the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pytest

from agent_manager.domain.agents import ManifestFault, Package, PackageStatus
from agent_manager.domain.availability import Availability
from agent_manager.domain.errors import InvalidRequestError, NotFoundError
from agent_manager.domain.instances import Instance, InstanceStatus, Target
from agent_manager.ports.processes import LogTail
from agent_manager.ports.store import Transaction
from agent_manager.services.queries import MAX_LOG_BYTES
from tests.harness.domain import SPEC, agent
from tests.harness.fakes import FakeLogs
from tests.unit.services.bench import Bench


def _save(package: Package, transaction: Transaction) -> None:
    transaction.save_package(package)


def stored(agent_id: str, status: InstanceStatus) -> Instance:
    return Instance(agent_id=agent_id, ordinal=0, target=Target(run=True, spec=SPEC), status=status)


async def test_agents_come_in_pages_in_order_of_their_ids(bench: Bench) -> None:
    await bench.save(*(agent(name) for name in ("c", "a", "b")))
    first = await bench.queries.agents(after="", limit=2)
    second = await bench.queries.agents(after="b", limit=2)
    assert [[snapshot.agent.id for snapshot in page] for page in (first, second)] == [["a", "b"], ["c"]]


async def test_packages_come_in_pages_in_order_of_their_names(bench: Bench) -> None:
    for name in ("c", "a", "b"):
        package = Package(
            name=name, node_id="node-1", path="/", agent_id=None, status=PackageStatus.INVALID, updated_at=1.0
        )
        await bench.store.write(partial(_save, package))
    page = await bench.queries.packages(after="a", limit=1)
    assert [package.name for package in page] == ["b"]


async def test_what_runs_here_is_shown_as_it_is_now_whatever_the_store_says(bench: Bench) -> None:
    await bench.save(agent())
    await bench.store.write(lambda transaction: transaction.observe(stored("echo", InstanceStatus.ERROR), "node-1"))
    await bench.running()
    snapshot = await bench.queries.agent("echo")
    assert [instance.status for instance in snapshot.instances] == [InstanceStatus.RUNNING]
    assert snapshot.availability is Availability.ACTIVE


async def test_one_agent_is_shown_with_what_is_wrong_with_its_own_package(bench: Bench) -> None:
    fault = ManifestFault(file="echo/agent.yaml", line=3, message="x is not a known key")
    mine = Package(
        name="echo",
        node_id=agent().node_id,
        path="/",
        agent_id="echo",
        status=PackageStatus.INVALID,
        updated_at=1.0,
        faults=(fault,),
    )
    await bench.save(agent())
    assert (await bench.queries.agent("echo")).faults == ()
    for package in (mine, replace(mine, node_id="node-2", faults=(fault, fault))):
        await bench.store.write(partial(_save, package))
    assert (await bench.queries.agent("echo")).faults == (fault,)


async def test_what_runs_elsewhere_is_shown_as_last_observed(bench: Bench) -> None:
    await bench.save(replace(agent(), node_id="node-2"))
    await bench.store.write(lambda transaction: transaction.observe(stored("echo", InstanceStatus.RUNNING), "node-2"))
    snapshot = await bench.queries.agent("echo")
    assert [instance.status for instance in snapshot.instances] == [InstanceStatus.RUNNING]


async def test_an_instance_that_is_on_its_way_out_is_still_shown(bench: Bench) -> None:
    await bench.save(agent())
    await bench.running("echo_0")
    await bench.running("echo_1")
    snapshot = await bench.queries.agent("echo")
    assert [instance.id for instance in snapshot.instances] == ["echo_0", "echo_1"]


@pytest.mark.parametrize(("load", "expected"), [(0.5, Availability.ACTIVE), (1.0, Availability.BUSY)])
async def test_the_load_of_an_instance_decides_whether_its_agent_is_busy(
    bench: Bench, load: float, expected: Availability
) -> None:
    await bench.save(agent())
    await bench.running()
    bench.heartbeat(load=load)
    assert (await bench.queries.agent("echo")).availability is expected


async def test_an_agent_nobody_knows_is_not_found(bench: Bench) -> None:
    for ask in (bench.queries.agent, bench.queries.measurements):
        with pytest.raises(NotFoundError, match="agent nobody not found"):
            await ask("nobody")
    with pytest.raises(InvalidRequestError):
        await bench.queries.agent("Not An Id")


async def test_measurements_join_what_the_system_and_what_the_instance_says(bench: Bench) -> None:
    await bench.save(agent())
    running = await bench.running()
    assert running.launch is not None
    assert bench.counters.reported("echo_0", running.launch.launch_id, {"requests": 3.0})
    assert not bench.counters.reported("echo_0", "launch-of-yesterday", {"requests": 9.0})
    assert not bench.counters.reported("nobody_0", "launch1", {})
    bench.clock.advance(7.0)
    (measured,) = await bench.queries.measurements("echo")
    assert measured.uptime_s == 7.0
    assert measured.usage is not None
    assert measured.usage.rss_bytes == 1_000
    assert measured.counters == {"requests": 3.0}


async def test_every_instance_is_measured_in_one_go_in_pages_in_order_of_their_ids(bench: Bench) -> None:
    await bench.save(replace(agent(), replicas=2), agent("alpha"))
    for name in ("echo_0", "echo_1", "alpha_0"):
        await bench.running(name)
    first = await bench.queries.all_measurements(after="", limit=2)
    second = await bench.queries.all_measurements(after="echo_0", limit=2)
    assert [[one.instance.id for one in page] for page in (first, second)] == [["alpha_0", "echo_0"], ["echo_1"]]
    assert all(one.usage is not None and one.at == bench.clock.wall for one in (*first, *second))


async def test_a_process_id_of_another_node_is_not_looked_up_here(bench: Bench) -> None:
    await bench.save(replace(agent(), node_id="node-2"))
    there = replace(stored("echo", InstanceStatus.RUNNING), launch=(await bench.running("other_0")).launch)
    await bench.store.write(lambda transaction: transaction.observe(there, "node-2"))
    (measured,) = await bench.queries.all_measurements(after="", limit=10)
    assert (measured.node_id, measured.usage) == ("node-2", None)
    assert (await bench.queries.measurements("echo"))[0].usage is None


async def test_counters_of_an_ended_launch_are_shown_no_more(bench: Bench) -> None:
    await bench.save(agent())
    running = await bench.running()
    assert running.launch is not None
    bench.counters.reported("echo_0", running.launch.launch_id, {"requests": 3.0})
    bench.launcher.end("echo_0")
    await bench.started()
    (measured,) = await bench.queries.measurements("echo")
    assert measured.counters == {}
    assert measured.heartbeat is None


async def test_logs_are_of_all_instances_or_of_the_one_that_is_named(bench: Bench) -> None:
    await bench.save(replace(agent(), replicas=2))
    await bench.running("echo_0")
    await bench.running("echo_1")
    every = await bench.queries.log_tails("echo", lines=5, only=None)
    one = await bench.queries.log_tails("echo", lines=5, only="echo_1")
    assert [(tail.instance_id, tail.stream) for tail in every] == [
        (name, stream) for name in ("echo_0", "echo_1") for stream in ("out", "err")
    ]
    assert {tail.instance_id for tail in one} == {"echo_1"}


@pytest.mark.parametrize(("only", "error"), [("echo_7", NotFoundError), ("echo", InvalidRequestError)])
async def test_logs_of_an_instance_that_is_not_there_are_refused(
    bench: Bench, only: str, error: type[Exception]
) -> None:
    await bench.save(agent())
    await bench.running()
    with pytest.raises(error, match=only):
        await bench.queries.log_tails("echo", lines=5, only=only)


async def test_the_node_counts_what_runs_on_it(bench: Bench) -> None:
    await bench.running("echo_0")
    await bench.running("echo_1")
    bench.aim(run=False, agent_id="idle")
    node = bench.queries.this_node()
    assert node.agents == 2
    assert node.instances == {"running": 2, "stopped": 1}
    assert node.identity.node_id == "node-1"


async def test_the_streams_of_an_answer_share_what_it_may_hold(bench: Bench) -> None:
    await bench.save(agent())
    limits: list[int] = []

    class Measured(FakeLogs):
        async def tail(self, instance_id: str, *, lines: int, max_bytes: int) -> Sequence[LogTail]:
            limits.append(max_bytes)
            return await super().tail(instance_id, lines=lines, max_bytes=max_bytes)

    queries = replace(bench.queries, logs=Measured())
    for ordinal in range(4):
        await bench.running(f"echo_{ordinal}")
    await queries.log_tails("echo", lines=5, only=None)
    await queries.log_tails("echo", lines=5, only="echo_1")
    assert limits == [MAX_LOG_BYTES // 8] * 4 + [MAX_LOG_BYTES // 2]


async def test_counters_of_an_instance_that_is_gone_are_forgotten(bench: Bench) -> None:
    instance = await bench.running()
    assert instance.launch is not None
    assert bench.counters.reported("echo_0", instance.launch.launch_id, {"handled": 1.0})
    bench.counters.forget("echo_0")
    assert bench.counters.of(instance) == {}
