"""The README's own commands, carried out in the order of the page.

`console` blocks are not run, hence each is listed here: what occupies a terminal of its own, and programs that may be
missing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.harness.newcomer import Newcomer, blocks, newcomer_in

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
NOT_RUN = ("make up", "nats --server")


def section(heading: str) -> str:
    """What stands below a heading of the second level, up to the next."""
    return README.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


@pytest.fixture
async def newcomer(tmp_path: Path) -> AsyncIterator[Newcomer]:
    """In a directory that looks like a clone after `make up`."""
    async with newcomer_in(tmp_path) as newcomer:
        yield newcomer


async def test_what_the_readme_tells_a_newcomer_works(newcomer: Newcomer) -> None:
    node = newcomer.node
    clock, manager = await node.until("clock", "running"), node.pid("manager")

    printed = await newcomer.follow(section("Quick start"))
    echo = await node.until("echo", "running")
    assert (echo["restarts"], echo["last_exit"]["reason"]) == (1, "requested")
    assert node.pid("manager") != manager
    assert (await node.until("clock", "running"))["pid"] == clock["pid"]
    assert "echo: running (pid " in printed
    assert '"command":"restart"' in printed
    assert '"result": {"hello": "world"}' in printed

    printed = await newcomer.follow(section("Your first agent"))
    assert "Hello, Ada!" in printed
    assert "IS ANYBODY THERE?" in printed

    printed = await newcomer.follow(section("A plain executable"))
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
