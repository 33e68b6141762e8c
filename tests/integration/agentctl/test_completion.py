"""What the shell is offered after a tab."""

from __future__ import annotations

import re
from functools import partial

import pytest

from agent_manager.protocol import operations
from agent_manager.protocol.resources import AgentList, InstanceList
from tests.harness.agentctl_program import Agentctl, Run
from tests.harness.fake_manager import FakeManager, agent, sample
from tests.harness.waiting import eventually

TYPED = {
    "bash": lambda line: {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)},
    "zsh": lambda line: {"_TYPER_COMPLETE_ARGS": line},
    "fish": lambda line: {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
}
SHELLS = pytest.mark.parametrize("shell", list(TYPED))


async def offered(agentctl: Agentctl, shell: str, line: str) -> Run:
    """What is offered for a line that ends where tab was pressed."""
    return await agentctl(_AGENTCTL_COMPLETE=f"complete_{shell}", **TYPED[shell](line))


async def words_offered(agentctl: Agentctl, shell: str, line: str) -> set[str]:
    """The words of it; none while a busy machine does not answer in time."""
    run = await offered(agentctl, shell, line)
    assert run.err == ""
    return set(re.findall(r"[\w-]+", run.out)) - {"_files"}


@pytest.fixture(autouse=True)
def agents(manager: FakeManager) -> None:
    manager.answer(operations.AGENTS_LIST, AgentList(items=[agent("clock"), agent("echo"), agent("echo-2")]))
    instances = [sample(name) for name in ("clock_0", "echo_0", "echo_1")]
    manager.answer(operations.INSTANCES_LIST, InstanceList(items=instances))


@SHELLS
async def test_commands_agents_and_instances(agentctl: Agentctl, shell: str) -> None:
    for line, expected, unexpected in (
        ("agentctl s", ("show", "status", "start", "stop"), ("ls",)),
        ("agentctl show e", ("echo", "echo-2"), ("clock",)),
        ("agentctl stop echo ", ("clock", "echo-2"), ()),
        ("agentctl logs echo --instance e", ("echo_0", "echo_1"), ("clock",)),
    ):
        words = await eventually(partial(words_offered, agentctl, shell, line), 60.0)
        assert set(expected) <= words, line
        assert not set(unexpected) & words, line


async def test_what_stands_there_already_is_not_offered_again(agentctl: Agentctl) -> None:
    words = await eventually(partial(words_offered, agentctl, "bash", "agentctl stop echo "), 60.0)
    assert words == {"clock", "echo-2"}


@SHELLS
async def test_without_an_api_nothing_is_offered_and_nothing_said(lost_agentctl: Agentctl, shell: str) -> None:
    for line in ("agentctl --api-url http://127.0.0.1:1 show e", "agentctl --api-url nonsense show e"):
        run = await offered(lost_agentctl, shell, line)
        assert run.err == ""
        assert "echo" not in run.out


async def test_an_api_that_does_not_answer_is_not_waited_for(agentctl: Agentctl, manager: FakeManager) -> None:
    manager.ignore(operations.AGENTS_LIST)
    run = await offered(agentctl, "bash", "agentctl show e")
    assert (run.out.strip(), run.err) == ("", "")


async def test_agent_manager_completes_too(agentctl: Agentctl) -> None:
    run = await agentctl.program("agent_manager")(
        _AGENT_MANAGER_COMPLETE="complete_bash", COMP_WORDS="agent-manager co", COMP_CWORD="1"
    )
    assert (run.out.split(), run.err) == (["config"], "")
