"""`top` and `--watch` on a terminal: what is drawn, what keys do, and how they end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from agent_manager.protocol import operations
from agent_manager.protocol.errors import ErrorBody, ErrorCode
from agent_manager.protocol.messages import Request
from agent_manager.protocol.resources import AgentList, InstanceList, UsageView
from tests.harness.agentctl_program import COMMAND, Agentctl
from tests.harness.fake_manager import AT, FakeManager, agent, event, sample
from tests.harness.live_api import LiveApi, running_api
from tests.harness.nats_server import NatsHarness
from tests.harness.pseudo_terminal import ENTERED, LEFT, PseudoTerminal, in_a_terminal
from tests.harness.waiting import eventually

AWAY = ErrorBody(code=ErrorCode.UNAVAILABLE, message="no manager is running", retryable=True)


@pytest.fixture
def busy_agents(manager: FakeManager) -> None:
    """`hot_0` uses a processor and a half, `cold_0` nothing; a second passes with each look."""
    looks = 0

    def answer(_: Request) -> InstanceList:
        nonlocal looks
        looks += 1
        return InstanceList(
            items=[
                sample(name, process=used(looks * rate), measured_at=AT + timedelta(seconds=looks))
                for name, rate in (("cold_0", 0.0), ("hot_0", 1.5))
            ]
        )

    def used(cpu_s: float) -> UsageView:
        return UsageView(processes=1, rss_bytes=1024 * 1024, cpu_s=cpu_s, threads=1, open_files=1)

    manager.answer_with(operations.INSTANCES_LIST, answer)


@contextlib.asynccontextmanager
async def shown(agentctl: Agentctl, *arguments: str, lines: int = 24) -> AsyncIterator[PseudoTerminal]:
    async with in_a_terminal([*COMMAND, *arguments], environment=agentctl.environment, lines=lines) as terminal:
        yield terminal


async def ended(terminal: PseudoTerminal) -> int | None:
    """Wait for its end; the terminal must be as it was found."""
    await asyncio.wait_for(terminal.process.wait(), 20.0)
    written = terminal.rest()
    assert written.count(ENTERED) == written.count(LEFT) > 0
    assert "\x1b[?25h" in written.rpartition("\x1b[?25l")[2]
    assert not terminal.is_raw()
    assert "Traceback" not in written
    return terminal.process.returncode


@pytest.mark.usefixtures("busy_agents")
async def test_top_shows_what_is_used_in_the_order_of_a_key_and_q_ends_it(
    agentctl: Agentctl, manager: FakeManager
) -> None:
    async with shown(agentctl, "top", "--interval", "0.5") as terminal:
        await terminal.shows("150.0")
        assert first_instance(terminal) == "hot_0"
        terminal.press("n")
        await eventually(lambda: first_instance(terminal) == "cold_0")
        terminal.press("n")
        await eventually(lambda: first_instance(terminal) == "hot_0")
        terminal.press("q")
        assert await ended(terminal) == 0
    asked = [received.operation for received in manager.received]
    assert set(asked) == {"instances.list", "nodes.list"}
    assert abs(asked.count("instances.list") - asked.count("nodes.list")) <= 1


def first_instance(terminal: PseudoTerminal) -> str:
    rows = [line.split() for line in terminal.screen]
    return next((rows[n + 1][0] for n, row in enumerate(rows[:-1]) if row[:1] == ["INSTANCE"]), "")


@pytest.mark.parametrize(
    ("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)], ids=["Ctrl-C", "terminated"]
)
@pytest.mark.parametrize("arguments", [("top",), ("ls", "-w")], ids=["top", "watch"])
async def test_a_signal_leaves_the_terminal_as_it_was(
    agentctl: Agentctl, manager: FakeManager, arguments: tuple[str, ...], number: signal.Signals, exit_code: int
) -> None:
    async with shown(agentctl, *arguments) as terminal:
        await terminal.shows("echo")
        terminal.process.send_signal(number)
        assert await ended(terminal) == exit_code


async def test_top_says_that_the_manager_is_away_and_goes_on_when_it_is_back(
    agentctl: Agentctl, manager: FakeManager
) -> None:
    async with shown(agentctl, "top", "--interval", "0.5") as terminal:
        await terminal.shows("echo_0")
        manager.refuse(operations.INSTANCES_LIST, AWAY)
        await terminal.shows("no manager is running")
        await terminal.shows("echo_0")
        manager.answer(operations.INSTANCES_LIST, InstanceList(items=[sample("later_0")]))
        await terminal.shows("later_0")
        assert not any("no manager is running" in line for line in terminal.screen)


async def test_top_goes_on_over_a_restart_of_the_api(
    nats: NatsHarness, manager: FakeManager, agentctl: Agentctl
) -> None:
    async with contextlib.AsyncExitStack() as first:
        api = await first.enter_async_context(running_api(nats))
        environment = {**agentctl.environment, "AGENT_MANAGER_API_URL": api.url}
        command = [*COMMAND, "top", "--interval", "0.5"]
        terminal = await first.enter_async_context(in_a_terminal(command, environment=environment))
        await terminal.shows("echo_0")
        api.stop()
        await terminal.shows("cannot be reached")
        manager.answer(operations.INSTANCES_LIST, InstanceList(items=[sample("later_0")]))
        async with running_api(nats, port=api.port):
            await terminal.shows("later_0")


async def test_a_smaller_window_is_drawn_for_its_size(agentctl: Agentctl, manager: FakeManager) -> None:
    manager.answer(operations.INSTANCES_LIST, InstanceList(items=[sample(f"echo_{n}") for n in range(50)]))
    async with shown(agentctl, "top", "--interval", "3600") as terminal:
        await terminal.shows("lines 1-20 of 50")
        terminal.resize(columns=120, lines=10)
        await terminal.shows("lines 1-6 of 50")
        assert len(terminal.screen) == 10
        terminal.press("\x1b[6~")
        await terminal.shows("lines 7-12 of 50")


async def test_what_is_watched_is_drawn_again_when_something_happens(
    agentctl: Agentctl, manager: FakeManager, api: LiveApi
) -> None:
    async with shown(agentctl, "ls", "--watch") as terminal:
        await terminal.shows("echo")
        await eventually(lambda: api.manager.feed.waiting == 1)
        manager.answer(operations.AGENTS_LIST, AgentList(items=[agent("newcomer")]))
        await manager.announce(event(1, "newcomer"))
        await terminal.shows("newcomer")
        manager.refuse(operations.AGENTS_LIST, AWAY)
        await manager.announce(event(2, "newcomer"))
        await terminal.shows("no manager is running")
        await terminal.shows("newcomer")
        terminal.press("q")
        assert await ended(terminal) == 0


async def test_in_a_pipe_what_is_watched_is_printed_again_when_it_has_changed(
    agentctl: Agentctl, manager: FakeManager, api: LiveApi
) -> None:
    async with agentctl.running("ls", "-w", "-o", "name") as process:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"echo\n"
        await eventually(lambda: api.manager.feed.waiting == 1)
        await manager.announce(event(1))
        manager.answer(operations.AGENTS_LIST, AgentList(items=[agent("newcomer")]))
        await manager.announce(event(2))
        assert await process.stdout.readline() == b"newcomer\n"
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert (process.returncode, out, err) == (130, b"", b"")


async def test_what_cannot_be_shown_at_first_is_an_error(agentctl: Agentctl, manager: FakeManager) -> None:
    manager.refuse(operations.AGENTS_GET, ErrorBody(code=ErrorCode.NOT_FOUND, message="agent echo not found"))
    async with shown(agentctl, "show", "echo", "-w") as terminal:
        assert await asyncio.wait_for(terminal.process.wait(), 20.0) == 3
        assert terminal.rest() == "agentctl: agent echo not found\r\n"


@pytest.mark.usefixtures("busy_agents")
async def test_top_once_prints_one_picture(agentctl: Agentctl, manager: FakeManager) -> None:
    run = await agentctl("top", "--once", "--interval", "0.5")
    assert (run.exit_code, run.err) == (0, "")
    assert run.out.startswith("node-1 on host-1   1 running   CPU 150.0 % of")
    assert [row[:3] for row in run.rows[2:]] == [
        ["INSTANCE", "STATUS", "CPU"],
        ["hot_0", "running", "150.0"],
        ["cold_0", "running", "0.0"],
    ]
    assert len(manager.received) == 4
    document = (await agentctl("top", "-i", "0.5", "--sort", "name", "--json")).json
    assert [(one["id"], one["processors"]) for one in document["instances"]] == [("cold_0", 0.0), ("hot_0", 1.5)]
    assert [node["id"] for node in document["nodes"]] == ["node-1"]
