"""Standard output that cannot show every letter: the commands of `agent-manager` say what they have to all the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.node import node_under_test
from tests.harness.waiting import eventually

ASCII = {"PYTHONIOENCODING": "ascii"}


def said(place: Path, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command called in a folder."""
    done = subprocess.run(
        (sys.executable, "-P", "-m", "agent_manager.cli", *arguments),
        cwd=place,
        env=os.environ | ASCII,
        capture_output=True,
        check=False,
    )
    return done.returncode, done.stdout.decode("ascii"), done.stderr.decode("ascii")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder for a node, with letters in its name that ASCII lacks."""
    place = tmp_path / "Bäume"
    (place / "agent_packages").mkdir(parents=True)
    return place


@pytest.mark.parametrize(
    "arguments",
    [
        ["doctor"],
        ["migrate", "--database-url", "sqlite:///node.db"],
        ["migrate", "--check"],
        ["config", "show"],
        ["package", "new", "it", "--path", "../Bäume/agent_packages"],
    ],
    ids=" ".join,
)
def test_a_command_does_not_end_in_a_letter_that_cannot_be_written(place: Path, arguments: list[str]) -> None:
    code, out, err = said(place, *arguments)
    assert (code, err) == (3 if "--check" in arguments else 0, "")
    assert out


def test_remedies_and_names_can_be_read_in_ascii(place: Path) -> None:
    (place / "agent_packages" / "größe").mkdir()
    (place / "agent_packages" / "größe" / "agent.yml").touch()
    code, out, err = said(place, "doctor")
    assert (code, err) == (1, "")
    assert f"         -> rename {ascii(str(place))[1:-1]}/agent_packages/gr\\xf6\\xdfe/agent.yml to agent.yaml" in out


async def test_the_console_of_a_node_goes_on_after_a_letter_that_cannot_be_written(tmp_path: Path) -> None:
    async with node_under_test(tmp_path, "echo") as node:
        node.environment = ASCII
        await node.up()
        await node.until("echo", "running")
        before = await node.agent("echo")
        source = node.packages / "echo" / "agent.py"
        source.write_text(source.read_text(encoding="utf-8") + "# changed\n", encoding="utf-8")

        async def has_changed() -> bool:
            return bool((await node.agent("echo")).get("digest") != before["digest"])

        await eventually(has_changed, 60.0)
        await eventually(lambda: "\\u2192" in node.console(), 60.0)
    assert "Traceback" not in node.console()
