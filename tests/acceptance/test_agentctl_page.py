"""What `docs/agentctl.md` shows beyond the commands that end by themselves, which `test_docs.py` runs."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
from functools import partial
from pathlib import Path

from agent_manager.cli.agentctl import app
from tests.harness.newcomer import blocks, newcomer_in
from tests.harness.node import Node
from tests.harness.pseudo_terminal import PseudoTerminal, in_a_terminal
from tests.harness.waiting import eventually

PAGE = (Path(__file__).parents[2] / "docs" / "agentctl.md").read_text(encoding="utf-8")
COMMANDS = [
    line.removeprefix("$ ") for block in blocks(PAGE) if block.kind == "console" for line in block.text.splitlines()
]
WATCHING = [command for command in COMMANDS if "--install-completion" not in command]


def test_every_command_is_on_the_page() -> None:
    names = [command.name or command.callback.__name__ for command in app.registered_commands if command.callback]
    assert len(names) > 10
    assert [name for name in names if f"`agentctl {name}" not in PAGE and f"`{name}" not in PAGE] == []


async def has_shown(terminal: PseudoTerminal, node: Node, command: str) -> bool:
    """Whether what the command is for is on the terminal; for events there has to be one."""
    if command == "agentctl events":
        await node.post("/agents/echo/restart", wait=10)
    return ("T" if " logs " in command else "echo") in terminal.written


async def test_what_fills_the_terminal_shows_the_agents_until_ctrl_c(tmp_path: Path) -> None:
    assert len(WATCHING) == 6
    async with newcomer_in(tmp_path) as newcomer:
        await newcomer.node.until("echo", "running")
        variables = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        for command in WATCHING:
            directory = ["--data-dir", str(newcomer.node.data_dir)]
            program, *arguments = shlex.split(command)
            async with in_a_terminal([program, *directory, *arguments], environment=variables) as terminal:
                await eventually(partial(has_shown, terminal, newcomer.node, command), 60.0)
                terminal.process.send_signal(signal.SIGINT)
                assert await asyncio.wait_for(terminal.process.wait(), 20.0) == 130, command
