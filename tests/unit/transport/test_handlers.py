"""One handler per operation, with pages that stay within what the bus carries."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from agent_manager.domain.agents import PackageStatus
from agent_manager.domain.exits import LastLines
from agent_manager.ports.launcher import Slot, SlotState
from agent_manager.protocol import operations, resources
from agent_manager.protocol.messages import Message
from agent_manager.protocol.operations import OPERATIONS, Operation, PageParams
from agent_manager.transport import handlers as handlers_module
from agent_manager.transport.handlers import Call, Handlers
from tests.contract import store_values as values
from tests.harness.domain import SPEC, agent
from tests.unit.services.bench import NODE, Bench
from tests.unit.services.bench import bench as made


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with made() as it:
        yield it


async def called(bench: Bench, operation: Operation, agent_id: str = "", **params: Any) -> object:
    handler = Handlers(bench.commands, bench.queries, bench.following).table()[operation]
    result = await handler(Call(agent_id=agent_id, params=operation.params.model_validate(params), actor=None))
    assert isinstance(result, operation.result)
    return result


async def test_every_operation_has_a_handler_that_answers_with_its_result(bench: Bench) -> None:
    await bench.save(agent())
    bench.follow_desired_state()
    await bench.started()
    assert set(Handlers(bench.commands, bench.queries, bench.following).table()) == set(OPERATIONS)
    failed = replace(values.package(), name="echo", node_id=NODE, status=PackageStatus.FAILED)
    await bench.store.write(lambda transaction: transaction.save_package(failed))
    for operation in OPERATIONS:
        params = {"name": "echo"} if operation is operations.PACKAGES_RETRY else {}
        await called(bench, operation, "echo" if operation.agent else "", **params)


async def listed(bench: Bench, **params: Any) -> list[list[str]]:
    """Every page, by the ids on it."""
    pages: list[list[str]] = []
    token: str | None = ""
    while token is not None:
        page = await called(bench, operations.AGENTS_LIST, page_token=token, **params)
        assert isinstance(page, resources.AgentList)
        pages.append([item.id for item in page.items])
        token = page.next_page_token
    return pages


async def test_pages_follow_each_other_without_a_gap(bench: Bench) -> None:
    await bench.save(*(agent(name) for name in "edcba"))
    assert await listed(bench, page_size=2) == [["a", "b"], ["c", "d"], ["e"]]
    assert await listed(bench, page_size=5) == [["a", "b", "c", "d", "e"]]


async def test_a_page_that_would_be_too_large_is_cut_short(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers_module, "MAX_PAGE_BYTES", 4_000)
    await bench.save(*(agent(name, spec=replace(SPEC, description="x" * 2_000)) for name in "abc"))
    assert await listed(bench, page_size=3) == [["a"], ["b"], ["c"]]


async def test_an_empty_list_has_no_next_page(bench: Bench) -> None:
    assert await listed(bench) == [[]]
    assert PageParams().page_size == 100


async def test_the_size_of_a_page_is_that_of_its_bytes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers_module, "MAX_PAGE_BYTES", 6_000)
    await bench.save(*(agent(name, spec=replace(SPEC, description="\N{SNOWMAN}" * 1_000)) for name in "ab"))
    assert await listed(bench, page_size=2) == [["a"], ["b"]]


async def test_one_agent_that_ended_a_thousand_times_at_once_hides_nothing(bench: Bench) -> None:
    said = LastLines(out=("\0" * 2_048,), err=("\x1b[31mred",) * 200)
    many = values.agent("many", replicas=1_000)
    await bench.save(values.agent("first"), many, values.agent("zero"))
    for number in range(many.replicas):
        ended = replace(values.exit_(), last_lines=said)
        bench.supervisor.adopt(
            (
                Slot(
                    instance_id=f"many_{number}",
                    launch_id="launch-1",
                    state=SlotState.EMPTY,
                    pid=None,
                    started_at=None,
                    instance=replace(values.instance("many", number), launch=None, last_exit=ended),
                    exits=(),
                ),
            )
        )
    assert await listed(bench, page_size=2) == [["first", "many"], ["zero"]]
    one = await called(bench, operations.AGENTS_GET, "many")
    assert isinstance(one, resources.AgentView)
    told = [shown.last_exit.last_lines for shown in one.instances if shown.last_exit is not None]
    assert len(told) == 1_000
    assert told[0] == resources.LastLinesView(out=list(said.out), err=list(said.err))
    for operation in (operations.AGENTS_GET, operations.AGENTS_STATUS, operations.AGENTS_STOP):
        result = await called(bench, operation, "many")
        assert isinstance(result, Message)
        assert len(result.model_dump_json().encode()) < 2 * handlers_module.MAX_PAGE_BYTES
