"""agentctl events: line by line, until somebody ends it."""

from __future__ import annotations

import json
import signal
from asyncio.subprocess import Process

from agent_manager.protocol import operations
from agent_manager.protocol.errors import ErrorBody, ErrorCode
from tests.harness.agentctl_program import Agentctl
from tests.harness.fake_manager import FakeManager, event
from tests.harness.live_api import LiveApi
from tests.harness.waiting import eventually


async def line_of(process: Process) -> str:
    """The next line it prints."""
    assert process.stdout is not None
    return (await process.stdout.readline()).decode()


async def test_an_event_is_a_line_and_ctrl_c_is_quiet(agentctl: Agentctl, manager: FakeManager, api: LiveApi) -> None:
    async with agentctl.running("events") as process:
        await eventually(lambda: api.manager.feed.watchers == 1)
        await manager.announce(event(1, message="ready\nat \x1b[2J last"))
        assert await line_of(process) == (
            "2026-01-02 03:04:05  echo_0            running     ready at \N{REPLACEMENT CHARACTER}[2J last\n"
        )
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert (process.returncode, out, err) == (130, b"", b"")


async def test_json_is_one_document_a_line(agentctl: Agentctl, manager: FakeManager, api: LiveApi) -> None:
    async with agentctl.running("events", "echo", "--json") as process:
        await eventually(lambda: api.manager.feed.watchers == 1)
        await manager.announce(event(1, "other"))
        await manager.announce(event(2))
        assert json.loads(await line_of(process)) == event(2).model_dump(mode="json")


async def test_the_end_of_the_stream_is_told(agentctl: Agentctl, manager: FakeManager, api: LiveApi) -> None:
    async with agentctl.running("events") as process:
        await eventually(lambda: api.manager.feed.watchers == 1)
        api.stop()
        _, err = await process.communicate()
    assert process.returncode == 5
    assert b"the API ended the stream of events" in err


async def test_an_agent_that_is_not_there_is_said_and_waited_for(
    agentctl: Agentctl, manager: FakeManager, api: LiveApi
) -> None:
    manager.refuse(operations.AGENTS_GET, ErrorBody(code=ErrorCode.NOT_FOUND, message="agent echo not found"))
    async with agentctl.running("events", "echo") as process:
        assert process.stderr is not None
        assert b"there is no agent echo yet" in await process.stderr.readline()
        await eventually(lambda: api.manager.feed.watchers == 1)
        await manager.announce(event(1))
        assert "echo_0" in await line_of(process)


async def test_no_manager_is_needed_to_follow_but_an_agents_id_is_checked(agentctl: Agentctl) -> None:
    run = await agentctl("events", "Echo")
    assert run.exit_code == 1
    assert "agent_id 'Echo'" in run.err
