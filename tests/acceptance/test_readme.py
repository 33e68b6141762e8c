"""The README's own commands, carried out as they stand there, in the order of the page.

A block marked `sh` is run, a `python` or `yaml` block is written to the file that its first line names, and between two
blocks whoever reads has time to look. `console` blocks are not run, hence each is listed here: what occupies a terminal
of its own, and programs that may be missing. The node is one of the harness, so its ports take the place of those on
the page; the directories are those on the page.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness.node import SHIPPED, Node
from tests.harness.waiting import eventually

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
NOT_RUN = ("make up", "nats --server")
COMMAND_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its mark and its text."""

    kind: str
    text: str


def blocks(page: str) -> Iterator[Block]:
    """Every fenced block."""
    for kind, text in re.findall(r"^```(\w+)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        yield Block(kind, text)


def section(heading: str) -> str:
    """What stands below a heading of the second level, up to the next."""
    return README.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


@dataclass(frozen=True, slots=True)
class Newcomer:
    """Somebody in a second terminal, who does what the page says. `node` runs in `directory`."""

    node: Node
    directory: Path

    async def follow(self, heading: str) -> str:
        """Do what a section says; returns everything its commands printed."""
        printed = ""
        for block in blocks(section(heading)):
            if block.kind in ("python", "yaml"):
                self._write(block.text)
            elif block.kind == "sh":
                await eventually(self._all_agents_run, COMMAND_TIMEOUT_S)
                printed += await self._run(block.text)
        return printed

    def _write(self, text: str) -> None:
        path = self.directory / text.splitlines()[0].removeprefix("# ")
        path.parent.mkdir(exist_ok=True)
        path.write_text(self._with_ports(text), encoding="utf-8")

    async def _run(self, text: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *("bash", "-euo", "pipefail", "-c", f". .venv/bin/activate\n{self._with_ports(text)}"),
            cwd=self.directory,
            env={name: value for name, value in os.environ.items() if not name.startswith("AGENT_MANAGER_")},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), COMMAND_TIMEOUT_S)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == 0, f"{text}\n{output.decode()}"
        return output.decode()

    def _with_ports(self, text: str) -> str:
        state = self.node.state
        return text.replace("http://127.0.0.1:8000", state["api_url"]).replace(
            "nats://127.0.0.1:4222", state["nats_url"]
        )

    async def _all_agents_run(self) -> bool:
        folders = [path.name for path in self.node.packages.iterdir() if not path.name.startswith("_")]
        return all([(await self.node.instance(name)).get("status") == "running" for name in folders])


@pytest.fixture
async def newcomer(tmp_path: Path) -> AsyncIterator[Newcomer]:
    """In a directory that looks like a clone after `make up`."""
    shutil.copytree(SHIPPED, tmp_path / "agent_packages", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / ".venv").symlink_to(sys.prefix)
    node = Node(data_dir=tmp_path / ".agent-manager", packages=tmp_path / "agent_packages")
    try:
        await node.up()
        yield Newcomer(node, tmp_path)
    finally:
        await node.close()


async def test_what_the_readme_tells_a_newcomer_works(newcomer: Newcomer) -> None:
    node = newcomer.node
    clock, manager = await node.until("clock", "running"), node.pid("manager")

    printed = await newcomer.follow("Quick start")
    echo = await node.until("echo", "running")
    assert (echo["restarts"], echo["last_exit"]["reason"]) == (1, "requested")
    assert node.pid("manager") != manager
    assert (await node.until("clock", "running"))["pid"] == clock["pid"]
    assert "echo: running (pid " in printed
    assert '"command":"restart"' in printed
    assert '"result": {"hello": "world"}' in printed

    printed = await newcomer.follow("Your first agent")
    assert "Hello, Ada!" in printed
    assert "IS ANYBODY THERE?" in printed

    printed = await newcomer.follow("A plain executable")
    assert "disk: stopped" in printed

    assert await node.stop() == 0
    assert node.processes() == []


def test_what_is_not_run_is_known() -> None:
    commands = [block.text.removeprefix("$ ") for block in blocks(README) if block.kind == "console"]
    assert len(commands) == len(NOT_RUN)
    assert all(command.startswith(known) for command, known in zip(commands, NOT_RUN, strict=True))


def test_every_block_says_what_it_is() -> None:
    assert {block.kind for block in blocks(README)} == {"sh", "python", "yaml", "console", "text"}
    assert README.count("\n```") == 2 * len(list(blocks(README)))
