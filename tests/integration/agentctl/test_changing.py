"""start, stop and restart: what becomes of each agent, and the exit code."""

from __future__ import annotations

import itertools
import json

import pytest

from agent_manager.protocol import operations
from agent_manager.protocol.errors import ErrorBody, ErrorCode
from agent_manager.protocol.messages import Request
from agent_manager.protocol.resources import ChangeResult
from tests.harness.agentctl_program import Agentctl
from tests.harness.fake_manager import FakeManager, agent, crashed, instance


async def test_it_waits_and_says_what_became_of_each(agentctl: Agentctl, manager: FakeManager) -> None:
    def started(request: Request) -> ChangeResult:
        agent_id = request.agent_id or ""
        count = 2 if agent_id == "pair" else 1
        instances = [instance(f"{agent_id}_{n}", pid=100 + n) for n in range(count)]
        return ChangeResult(agent=agent(agent_id, instances=instances), done=True)

    manager.answer_with(operations.AGENTS_START, started)
    run = await agentctl("start", "echo", "pair", "echo")
    assert (run.exit_code, run.err) == (0, "")
    assert run.out == "echo: running (pid 100)\npair: running (pid 100, 101)\n"
    assert [received.request.params for received in manager.received] == [{"wait_s": 30.0}] * 2


async def test_stop_says_stopped(agentctl: Agentctl, manager: FakeManager) -> None:
    manager.answer(operations.AGENTS_STOP, ChangeResult(agent=agent(instances=[]), done=True))
    run = await agentctl("stop", "echo", "--wait", "2.5")
    assert (run.exit_code, run.out) == (0, "echo: stopped\n")
    assert manager.received[0].request.params == {"wait_s": 2.5}


async def test_without_waiting_accepted_is_enough(agentctl: Agentctl, manager: FakeManager) -> None:
    manager.answer(operations.AGENTS_RESTART, ChangeResult(agent=agent(), done=False))
    run = await agentctl("restart", "echo", "--no-wait")
    assert (run.exit_code, run.out) == (0, "echo: restart accepted\n")
    assert manager.received[0].request.params == {"wait_s": 0.0}


async def test_not_done_within_the_wait_says_why(agentctl: Agentctl, manager: FakeManager) -> None:
    manager.answer(operations.AGENTS_START, ChangeResult(agent=agent(instances=[crashed()]), done=False))
    run = await agentctl("start", "echo")
    assert (run.exit_code, run.out) == (6, "")
    assert run.err == "agentctl: echo: not running: echo_0 is error (10 restarts in 60 s)\n"


@pytest.mark.parametrize(
    ("code", "exit_code"), [("not_found", 3), ("conflict", 4), ("unavailable", 5), ("timeout", 5), ("forbidden", 1)]
)
async def test_a_refusal_has_its_exit_code_and_the_managers_words(
    agentctl: Agentctl, manager: FakeManager, code: str, exit_code: int
) -> None:
    manager.refuse(operations.AGENTS_STOP, ErrorBody(code=code, message="not that one"))
    run = await agentctl("stop", "echo")
    assert (run.exit_code, run.out, run.err) == (exit_code, "", "agentctl: echo: not that one\n")


async def test_one_refusal_does_not_keep_the_others_from_changing(agentctl: Agentctl, manager: FakeManager) -> None:
    def started(request: Request) -> ChangeResult | ErrorBody:
        if request.agent_id == "gone":
            return ErrorBody(code=ErrorCode.NOT_FOUND, message="no such agent")
        return ChangeResult(agent=agent(request.agent_id or ""), done=True)

    manager.answer_with(operations.AGENTS_START, started)
    run = await agentctl("start", "gone", "echo")
    assert (run.exit_code, run.out) == (3, "echo: running (pid 1234)\n")
    assert run.err == "agentctl: gone: no such agent\n"
    documents = [json.loads(line) for line in (await agentctl("start", "gone", "echo", "--json")).out.splitlines()]
    assert [documents[0]["code"], documents[1]["agent"]["id"]] == ["not_found", "echo"]


@pytest.mark.parametrize(
    "arguments",
    [("start",), ("start", "echo", "--wait", "-1"), ("stop", "echo", "--wait", "301"), ("logs", "echo", "-n", "0"), ()],
)
async def test_wrong_usage_has_an_exit_code_of_its_own(lost_agentctl: Agentctl, arguments: tuple[str, ...]) -> None:
    run = await lost_agentctl(*arguments)
    assert run.exit_code == 2
    assert "Usage: agentctl" in run.err


async def test_what_cannot_be_an_id_is_wrong_usage(agentctl: Agentctl, manager: FakeManager) -> None:
    for command, agent_id in itertools.product(("show", "start"), ("..", "a/b", "", "Echo")):
        run = await agentctl(command, agent_id)
        assert run.exit_code == 2, (command, agent_id)
        assert "cannot be the id of an agent" in run.err
        assert ": : " not in run.err
    assert manager.received == []


async def test_a_package_is_tried_again_and_a_refusal_says_why(agentctl: Agentctl, manager: FakeManager) -> None:
    run = await agentctl("package", "retry", "own_libs")
    assert (run.exit_code, run.err) == (0, "")
    assert run.out == "own_libs: tried again; `agentctl packages` shows what came of it\n"
    assert manager.received[0].request.params == {"name": "own_libs"}
    manager.refuse(operations.PACKAGES_RETRY, ErrorBody(code=ErrorCode.CONFLICT, message="it is available"))
    run = await agentctl("package", "retry", "own_libs")
    assert (run.exit_code, run.err) == (4, "agentctl: it is available\n")
