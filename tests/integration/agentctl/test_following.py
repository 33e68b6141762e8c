"""agentctl events: line by line, once each, until somebody ends it."""

from __future__ import annotations

import json
import signal
from asyncio.subprocess import Process

from agent_manager.adapters.nats.embedded import free_port
from agent_manager.protocol import operations, subjects
from agent_manager.protocol.errors import ErrorBody, ErrorCode
from tests.harness.agentctl_program import Agentctl
from tests.harness.fake_manager import FakeManager, event
from tests.harness.live_api import LiveApi, running_api
from tests.harness.nats_server import NatsHarness
from tests.harness.waiting import eventually


async def line_of(process: Process) -> str:
    """The next line it prints."""
    assert process.stdout is not None
    return (await process.stdout.readline()).decode()


async def follows(api: LiveApi) -> None:
    """Wait until somebody follows."""
    await eventually(lambda: api.manager.feed.waiting == 1)


async def test_an_event_is_a_line_and_ctrl_c_is_quiet(agentctl: Agentctl, manager: FakeManager, api: LiveApi) -> None:
    async with agentctl.running("events") as process:
        await follows(api)
        await manager.announce(event(message="ready\nat \x1b[2J last"))
        assert await line_of(process) == (
            "2026-01-02 03:04:05  echo_0            running     ready at \N{REPLACEMENT CHARACTER}[2J last\n"
        )
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert (process.returncode, out, err) == (130, b"", b"")


async def test_json_is_one_document_a_line(agentctl: Agentctl, manager: FakeManager, api: LiveApi) -> None:
    async with agentctl.running("events", "echo", "--json") as process:
        await follows(api)
        await manager.announce(event(agent_id="other"))
        announced = await manager.announce(event())
        assert json.loads(await line_of(process)) == announced.model_dump(mode="json")


async def test_a_new_api_and_bus_are_gone_on_with_and_nothing_is_missed(
    agentctl: Agentctl, nats: NatsHarness, manager: FakeManager
) -> None:
    port = free_port("127.0.0.1")
    async with running_api(nats, port=port) as first, agentctl.running("--api-url", first.url, "events") as process:
        assert process.stderr is not None
        await follows(first)
        await manager.announce(event(message="event 1"))
        assert "event 1" in await line_of(process)
        first.stop()
        assert b"the connection to the API is lost" in await process.stderr.readline()
        for number in (2, 3):
            await manager.announce(event(message=f"event {number}"))
        await nats.restart()
        async with running_api(nats, port=port):
            assert b"connected again" in await process.stderr.readline()
            assert ["event 2" in await line_of(process), "event 3" in await line_of(process)] == [True, True]


async def test_events_that_are_gone_are_said(agentctl: Agentctl, nats: NatsHarness, manager: FakeManager) -> None:
    port = free_port("127.0.0.1")
    async with running_api(nats, port=port) as first, agentctl.running("--api-url", first.url, "events") as process:
        assert process.stderr is not None
        await follows(first)
        await manager.announce(event(message="event 1"))
        assert "event 1" in await line_of(process)
        first.stop()
        assert b"lost" in await process.stderr.readline()
        for _ in range(4):
            await manager.announce(event())
        await (await nats.connect_as_manager()).jetstream().purge_stream(subjects.EVENT_STREAM)
        async with running_api(nats, port=port):
            assert b"connected again" in await process.stderr.readline()
            assert await process.stderr.readline() == (
                b"agentctl: 4 events are gone: they are older than the stream keeps them\n"
            )


async def test_an_agent_that_is_not_there_is_said_and_waited_for(
    agentctl: Agentctl, manager: FakeManager, api: LiveApi
) -> None:
    manager.refuse(operations.AGENTS_GET, ErrorBody(code=ErrorCode.NOT_FOUND, message="agent echo not found"))
    async with agentctl.running("events", "echo") as process:
        assert process.stderr is not None
        assert b"there is no agent echo yet" in await process.stderr.readline()
        await follows(api)
        await manager.announce(event())
        assert "echo_0" in await line_of(process)


async def test_an_agents_id_is_checked(agentctl: Agentctl) -> None:
    run = await agentctl("events", "Echo")
    assert run.exit_code == 1
    assert "agent_id 'Echo'" in run.err
