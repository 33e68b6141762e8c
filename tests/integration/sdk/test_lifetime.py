"""Start, heartbeats, stop, and the exit code of every end."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from agent_manager.nats_access import environment as bus_environment
from agent_manager.protocol import environment
from tests.harness.nats_server import NatsHarness
from tests.harness.waiting import eventually
from tests.integration.sdk.running_agent import launch_environment, running_agent, start_process

MINIMAL = """
from agent_manager.sdk import Agent

Agent().run()
"""

HOOKS = """
import asyncio
from pathlib import Path

from agent_manager.sdk import Agent

agent = Agent(stop_grace_s={grace_s})
events = Path("events")


def note(what):
    with events.open("a") as file:
        print(what, file=file)


@agent.on_start
async def start():
    note("start")
    while not Path("may-start").exists():
        await asyncio.sleep(0.01)
    note("started")


@agent.on_stop
def stop():
    note("stop")


@agent.background
async def loop():
    note("background")
    try:
        await asyncio.Event().wait()
    finally:
        note("background cancelled")


@agent.command("wait")
async def wait(params):
    note("command")
    while not Path("may-finish").exists():
        await asyncio.sleep(0.01)
    note("command finished")
    return "finished"


@agent.command("hang")
def hang(params):
    note("command")
    import threading
    threading.Event().wait()


agent.run()
note("run returned")
"""

FAILING = """
import asyncio
from agent_manager.sdk import Agent

agent = Agent()


@agent.{hook}
async def fails():
    await asyncio.sleep(0)
    raise RuntimeError("the sky fell")


agent.run()
"""

BLOCKED = """
from pathlib import Path
from agent_manager.sdk import Agent

agent = Agent()


@agent.command("block")
async def block(params):
    Path("blocked").touch()
    while True:
        pass


agent.run()
"""


def events(folder: Path) -> list[str]:
    path = folder / "events"
    return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def hooks(folder: Path) -> str:
    (folder / "may-start").touch()
    return HOOKS.format(grace_s=20)


async def test_heartbeats_are_numbered_from_one_and_say_starting_first(nats: NatsHarness, folder: Path) -> None:
    async with running_agent(nats, folder, MINIMAL) as agent:
        await eventually(lambda: len(agent.heartbeats) >= 6)
        assert [report.number for report in agent.heartbeats] == list(range(1, len(agent.heartbeats) + 1))
        first = agent.heartbeats[0]
        assert (first.status, first.incarnation, first.metadata) == ("starting", 7, {"pid": agent.process.pid})
        assert agent.statuses == ["starting", "running"]


async def test_without_an_interval_only_changes_are_reported(nats: NatsHarness, folder: Path) -> None:
    async with running_agent(nats, folder, MINIMAL, variables={environment.AGENT_HEARTBEAT_INTERVAL_S: ""}) as agent:
        await agent.ask("pause")
        assert [report.status for report in agent.heartbeats] == ["starting", "running", "paused"]


async def test_the_agent_is_starting_until_on_start_returns_and_answers_meanwhile(
    nats: NatsHarness, folder: Path
) -> None:
    async with running_agent(nats, folder, HOOKS.format(grace_s=1), until="starting") as agent:
        await eventually(lambda: len(agent.heartbeats) >= 4)
        assert agent.statuses == ["starting"]
        assert (await agent.ask("ping")).result["status"] == "starting"
        refusal = await agent.ask("wait")
        assert refusal.error is not None
        assert (refusal.error.code, refusal.error.retryable) == ("unavailable", True)
        (folder / "may-start").touch()
        await agent.reports("running")


async def test_an_agent_paused_while_it_starts_is_paused_when_it_has_started(nats: NatsHarness, folder: Path) -> None:
    async with running_agent(nats, folder, HOOKS.format(grace_s=1), until="starting") as agent:
        assert (await agent.ask("pause")).result == {"status": "starting"}
        (folder / "may-start").touch()
        await agent.reports("paused")
        assert "running" not in agent.statuses


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_the_agent_in_order_with_exit_code_0(
    nats: NatsHarness, folder: Path, hooks: str, number: int
) -> None:
    async with running_agent(nats, folder, hooks) as agent:
        await eventually(lambda: "background" in events(folder))
        agent.process.send_signal(number)
        assert await agent.ends() == 0
        await agent.reports("draining")
        assert events(folder) == ["start", "started", "background", "background cancelled", "stop", "run returned"]


async def test_commands_under_way_are_finished_before_on_stop(nats: NatsHarness, folder: Path, hooks: str) -> None:
    async with running_agent(nats, folder, hooks) as agent:
        waiting = asyncio.create_task(agent.ask("wait"))
        await eventually(lambda: "command" in events(folder))
        agent.terminate()
        await agent.reports("draining")
        (folder / "may-finish").touch()
        assert (await waiting).result == "finished"
        assert await agent.ends() == 0
        after = events(folder)[events(folder).index("command finished") :]
        assert after == ["command finished", "background cancelled", "stop", "run returned"]


@pytest.mark.parametrize("command", ["wait", "hang"])
async def test_a_command_that_outlasts_the_grace_is_answered_as_cut_short(
    nats: NatsHarness, folder: Path, hooks: str, command: str
) -> None:
    async with running_agent(nats, folder, HOOKS.format(grace_s=0.1)) as agent:
        waiting = asyncio.create_task(agent.ask(command))
        await eventually(lambda: "command" in events(folder))
        agent.terminate()
        response = await waiting
        assert response.error is not None
        assert response.error.code == "unavailable"
        assert command in response.error.message
        assert await agent.ends() == 0
        assert "stop" in events(folder)


async def test_a_signal_during_on_start_ends_the_agent_without_on_stop(nats: NatsHarness, folder: Path) -> None:
    async with running_agent(nats, folder, HOOKS.format(grace_s=1), until="starting") as agent:
        await eventually(lambda: "start" in events(folder))
        agent.terminate()
        assert await agent.ends() == 0
        assert events(folder) == ["start", "run returned"]


@pytest.mark.parametrize("hook", ["background", "on_start"])
async def test_a_failure_outside_of_commands_ends_the_agent_with_a_traceback_and_exit_code_1(
    nats: NatsHarness, folder: Path, hook: str
) -> None:
    async with running_agent(nats, folder, FAILING.format(hook=hook), until=None) as agent:
        assert await agent.ends() == 1
        assert "RuntimeError: the sky fell" in agent.output
        assert "Traceback" in agent.output


async def test_a_failing_on_stop_is_logged_and_the_rest_of_the_stop_goes_on(nats: NatsHarness, folder: Path) -> None:
    async with running_agent(nats, folder, FAILING.format(hook="on_stop")) as agent:
        agent.terminate()
        assert await agent.ends() == 0
        assert "RuntimeError: the sky fell" in agent.output


async def test_a_blocked_event_loop_is_silent_and_a_second_signal_kills_it(nats: NatsHarness, folder: Path) -> None:
    async with running_agent(nats, folder, BLOCKED) as agent:
        asking = asyncio.create_task(agent.ask("block"))
        await eventually(lambda: (folder / "blocked").exists())
        agent.terminate()
        await eventually(lambda: _handles_no_more(agent.process.pid, signal.SIGTERM))
        assert agent.process.poll() is None
        agent.terminate()
        assert await agent.ends() == -signal.SIGTERM
        assert "draining" not in agent.statuses
        asking.cancel()


def _handles_no_more(pid: int, number: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return not int(caught.split()[1], 16) & 1 << number - 1


async def test_started_outside_agent_manager_says_how_to_start_it(tmp_path: Path) -> None:
    exit_code, output = await _run(tmp_path, {})
    assert exit_code == 78
    assert "AGENT_ID is not set" in output
    assert "agent_packages/" in output
    assert "NATS_URL=" in output
    assert "Traceback" not in output


async def test_credentials_that_are_not_there_are_named_by_their_path(nats: NatsHarness, tmp_path: Path) -> None:
    variables = {**launch_environment(nats), bus_environment.NATS_CREDS: str(tmp_path / "missing.creds")}
    exit_code, output = await _run(tmp_path, variables)
    assert exit_code == 78
    assert "NATS_CREDS" in output
    assert "missing.creds" in output


async def test_an_agent_that_cannot_connect_says_so_tries_on_and_can_be_stopped(
    nats: NatsHarness, folder: Path
) -> None:
    await nats.stop()
    log = folder / "agent.log"
    process = start_process(MINIMAL, launch_environment(nats), log)
    try:
        await eventually(lambda: "trying again" in log.read_text())
        assert nats.url.removeprefix("nats://") in log.read_text()
        process.terminate()
        await eventually(lambda: process.poll() is not None)
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()


async def _run(folder: Path, variables: dict[str, str]) -> tuple[int, str]:
    """Exit code and output of the smallest agent, which is expected to end by itself."""
    log = folder / "agent.log"
    process = start_process(MINIMAL, variables, log)
    try:
        await eventually(lambda: process.poll() is not None)
    finally:
        process.kill()
        process.wait()
    return process.returncode, log.read_text()
