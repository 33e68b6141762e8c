"""agentctl logs --follow: output as it is written, over restarts of whatever it comes through."""

from __future__ import annotations

import asyncio
import json
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent_manager.adapters.nats.embedded import free_port
from agent_manager.protocol import operations
from agent_manager.protocol.errors import ErrorBody, ErrorCode
from management_api import log_follower
from tests.harness.agentctl_program import Agentctl
from tests.harness.fake_manager import FakeManager
from tests.harness.live_api import LiveApi, running_api
from tests.harness.log_node import LogNode, log_node
from tests.harness.nats_server import NatsHarness
from tests.harness.waiting import eventually


@pytest.fixture
async def node(tmp_path: Path, nats: NatsHarness, manager: FakeManager) -> AsyncIterator[LogNode]:
    async with log_node(tmp_path / "logs", manager, await nats.connect_as_manager()) as made:
        yield made


async def lines_of(process: Process, count: int) -> list[str]:
    """The next lines it prints."""
    assert process.stdout is not None
    return [(await process.stdout.readline()).decode().removesuffix("\n") for _ in range(count)]


async def test_lines_are_printed_as_they_come_and_ctrl_c_is_quiet(
    agentctl: Agentctl, node: LogNode, api: LiveApi
) -> None:
    node.write("one", "two")
    async with agentctl.running("logs", "-f", "-n", "1", "echo") as process:
        assert await lines_of(process, 1) == ["two"]
        node.write("three")
        assert await lines_of(process, 1) == ["three"]
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert (process.returncode, out, err) == (130, b"", b"")


async def test_several_instances_are_told_apart(agentctl: Agentctl, node: LogNode, api: LiveApi) -> None:
    node.show("echo_0", "echo_1")
    node.write("a")
    async with agentctl.running("logs", "-f", "echo") as process:
        assert await lines_of(process, 1) == ["echo_0 out | a"]
        node.write("b", to="echo_1.err")
        assert await lines_of(process, 1) == ["echo_1 err | b"]


async def test_a_line_is_printed_while_it_is_written(agentctl: Agentctl, node: LogNode, api: LiveApi) -> None:
    async with agentctl.running("logs", "-f", "echo") as process:
        assert process.stdout is not None
        await eventually(lambda: "echo_0" in node.following.followed)
        node.write_raw(b"name? ")
        assert await process.stdout.readexactly(6) == b"name? "
        node.write_raw(b"Bob\n")
        assert await lines_of(process, 1) == ["Bob"]
        node.write_raw(b"more? ")
        assert await process.stdout.readexactly(6) == b"more? "
        node.write("no", to="echo_0.err")
        assert await lines_of(process, 2) == ["", "no"]


async def test_a_new_api_and_manager_are_gone_on_with(agentctl: Agentctl, nats: NatsHarness, node: LogNode) -> None:
    numbers = [str(number) for number in range(60)]
    port = free_port("127.0.0.1")
    async with agentctl.running("--api-url", f"http://127.0.0.1:{port}", "logs", "-f", "echo") as process:
        assert process.stderr is not None
        async with running_api(nats, port=port, service={"request_timeout_s": 2.0}):
            node.write(*numbers[:20])
            assert await lines_of(process, 20) == numbers[:20]
            node.restart_manager()
            node.write(*numbers[20:40])
            assert await lines_of(process, 20) == numbers[20:40]
        assert b"the connection to the API is lost" in await process.stderr.readline()
        node.write(*numbers[40:])
        async with running_api(nats, port=port):
            assert b"connected again" in await process.stderr.readline()
            assert await lines_of(process, 20) == numbers[40:]


async def test_it_ends_with_the_agent_where_asked_to(
    agentctl: Agentctl, node: LogNode, api: LiveApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_follower, "STOPPED_S", 0.2)
    node.write("last words")
    node.show("echo_0", status="stopped", pid=None)
    run = await asyncio.wait_for(agentctl("logs", "-f", "--until-stopped", "echo"), 30)
    assert (run.exit_code, run.out, run.err) == (0, "last words\n", "")


async def test_json_says_what_each_line_is(agentctl: Agentctl, node: LogNode, api: LiveApi) -> None:
    node.write("one", "two", max_bytes=4, files=2)
    async with agentctl.running("logs", "-f", "--json", "echo") as process:
        (line,) = await lines_of(process, 1)
    assert json.loads(line) == {
        "event": "lines",
        "instance_id": "echo_0",
        "stream": "out",
        "start": 0,
        "end": 8,
        "lines": ["one", "two"],
        "unfinished": False,
    }


async def test_an_agent_that_is_not_there_is_an_error(agentctl: Agentctl, manager: FakeManager, api: LiveApi) -> None:
    manager.refuse(operations.AGENTS_STATUS, ErrorBody(code=ErrorCode.NOT_FOUND, message="agent echo not found"))
    run = await agentctl("logs", "-f", "echo")
    assert (run.exit_code, run.err) == (3, "agentctl: agent echo not found\n")
