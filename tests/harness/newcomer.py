"""Somebody who follows a page: its own commands, carried out as they stand there, in the order of the page.

A block marked `sh` is run, a `python` or `yaml` block is written to the file that its first line names, and between two
blocks whoever reads has time to look. The node is one of the harness, so its ports take the place of those on the page;
the directories are those on the page.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.harness.node import SHIPPED, Node
from tests.harness.waiting import eventually

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


@dataclass(frozen=True, slots=True)
class Newcomer:
    """Somebody in a second terminal, who does what the page says. `node` runs in `directory`."""

    node: Node
    directory: Path

    async def follow(self, page: str) -> str:
        """Do what a page says; returns everything its commands printed."""
        printed = ""
        for block in blocks(page):
            if block.kind in ("python", "yaml") and block.text.startswith("# "):
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


@contextlib.asynccontextmanager
async def newcomer_in(directory: Path) -> AsyncIterator[Newcomer]:
    """In a directory that looks like a clone after `make up`."""
    shutil.copytree(SHIPPED, directory / "agent_packages", ignore=shutil.ignore_patterns("__pycache__"))
    (directory / ".venv").symlink_to(sys.prefix)
    node = Node(data_dir=directory / ".agent-manager", packages=directory / "agent_packages")
    try:
        await node.up()
        yield Newcomer(node, directory)
    finally:
        await node.close()
