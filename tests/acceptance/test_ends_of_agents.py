"""What agents leave when they end: why, their last words, and what no restart mends."""

from __future__ import annotations

import os
import pwd
import re
import tempfile
from pathlib import Path

import psutil
import pytest

from tests.harness.node import node_under_test, write_package
from tests.harness.waiting import eventually

HANGING = """
import time
from agent_manager.sdk import Agent

agent = Agent()


def stuck_in_here():
    time.sleep(1000)


@agent.background
async def work():
    stuck_in_here()


agent.run()
"""
SILENT = "version: '1'\nentrypoint: agent.py\nheartbeat: {interval_s: 0.2, timeout_s: 0.5}\n"


def limits_of(pid: int) -> str:
    return Path(f"/proc/{pid}/limits").read_text(encoding="ascii")


async def test_an_agent_that_hangs_tells_where_before_it_is_replaced(tmp_path: Path) -> None:
    async with node_under_test(tmp_path) as node:
        write_package(node.packages, "hanging", SILENT, HANGING)
        await node.up()

        async def watched() -> bool:
            last_exit = (await node.instance("hanging")).get("last_exit") or {}
            return last_exit.get("reason") == "watchdog"

        await eventually(watched, 60.0)
        log = node.data_dir / "logs" / "agents" / "hanging_0.err.log"
        await eventually(lambda: "in stuck_in_here" in log.read_text())


async def test_a_typo_is_told_and_not_tried_again_and_again(tmp_path: Path) -> None:
    async with node_under_test(tmp_path) as node:
        folder = write_package(node.packages, "typo", "version: '1'\nentrypoint: agent.py\n", "import reqests")
        await node.up()
        instance = await node.until("typo", "error")
        assert "No module named 'reqests'" in instance["reason"]
        assert instance["restarts"] <= 1
        (folder / "agent.py").write_text("from agent_manager.sdk import Agent\n\nAgent().run()\n")
        await node.until("typo", "running")


READING = """version: '1'
command: [sh, -c, 'cat "$NATS_CREDS" > /dev/null && echo "read by $USER in $HOME"; sleep 100000']
heartbeat: none
run_as: nobody
limits: {open_files: 256, nice: 3}
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
async def test_an_agent_runs_and_has_its_identity_as_another_user() -> None:
    nobody = pwd.getpwnam("nobody")
    # Where pytest makes its directories, nobody may go.
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        async with node_under_test(Path(directory)) as node:
            write_package(node.packages, "reading", READING)
            await node.up()
            process = psutil.Process((await node.until("reading", "running"))["pid"])
            assert set(process.uids()) == {nobody.pw_uid}
            assert re.search(r"Max open files +256 +256 ", limits_of(process.pid))
            assert process.nice() == 3
            log = node.data_dir / "logs" / "agents" / "reading_0.out.log"
            await eventually(lambda: log.read_text() == f"read by nobody in {nobody.pw_dir}\n")
            # A manager that takes over finds, and keeps, what the agent connects with.
            before = node.pid("manager")
            psutil.Process(before).kill()
            await node.replaced("manager", before)
            assert (await node.until("reading", "running"))["pid"] == process.pid


async def test_a_script_whose_interpreter_is_missing_says_which(tmp_path: Path) -> None:
    async with node_under_test(tmp_path) as node:
        folder = tmp_path / "script"
        folder.mkdir()
        (folder / "run").write_text("#!/no/such/shell\n", encoding="utf-8")
        (folder / "run").chmod(0o755)
        (folder / "agent.yaml").write_text("version: '1'\ncommand: [./run]\nheartbeat: none\n", encoding="utf-8")
        folder.rename(node.packages / "script")
        await node.up()
        instance = await node.until("script", "backoff")
        assert "/run': No such file or directory (its first line asks for '/no/such/shell'" in instance["reason"]


async def test_a_user_that_does_not_exist_is_told(tmp_path: Path) -> None:
    async with node_under_test(tmp_path, "echo") as node:
        with (node.packages / "echo" / "agent.yaml").open("a") as manifest:
            manifest.write("run_as: no-such-user\n")
        await node.up()
        instance = await node.until("echo", "backoff")
        assert "this machine has no user no-such-user" in instance["reason"]
