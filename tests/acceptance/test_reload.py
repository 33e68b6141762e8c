"""`agent-manager reload`: the installed version takes over, and no agent notices."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import psutil

from tests.harness.node import Node, node_under_test, write_package
from tests.harness.waiting import eventually

SHELL = "version: '1'\ncommand: [sleep, '100000']\nheartbeat: none\n"


async def reload(node: Node, *, python_path: str = "") -> tuple[int, str]:
    """Run the command; its exit code and what it says."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "agent_manager.cli", "reload", "--data-dir", str(node.data_dir)),
        env={**os.environ, **({"PYTHONPATH": python_path} if python_path else {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


async def pids(node: Node) -> dict[str, int]:
    found = [await node.instance("echo", ordinal) for ordinal in range(3)] + [await node.instance("shell")]
    return {instance["id"]: instance["pid"] for instance in found if instance.get("status") == "running"}


async def test_agents_run_on_under_the_version_that_takes_over(tmp_path: Path) -> None:
    async with node_under_test(tmp_path, "echo") as node:
        with (node.packages / "echo" / "agent.yaml").open("a") as manifest:
            manifest.write("replicas: 3\n")
        write_package(node.packages, "shell", SHELL)
        await node.up()
        await eventually(lambda: all_run(node), 60.0)
        agents, services = await pids(node), node.state["pids"]
        code, said = await reload(node)
        assert (code, "has taken over" in said) == (0, True), said
        after = node.state["pids"]
        assert (after["launcher"], after["nats"]) == (services["launcher"], services["nats"])
        assert after["manager"] != services["manager"]
        assert after["api"] != services["api"]
        await eventually(lambda: all_run(node), 60.0)
        assert await pids(node) == agents
        # It supervises them, as before.
        psutil.Process(agents["echo_1"]).kill()
        restarted = await node.until("echo", "running", ordinal=1, not_pid=agents["echo_1"])
        assert restarted["restarts"] == 1


async def all_run(node: Node) -> bool:
    return len(await pids(node)) == 4


async def test_a_version_that_cannot_be_loaded_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    # What an upgrade that went wrong looks like from here.
    (broken / "sqlalchemy.py").write_text("raise ImportError('half installed')")
    async with node_under_test(tmp_path, "echo") as node:
        await node.up()
        pid = (await node.until("echo", "running"))["pid"]
        before = node.state
        code, said = await reload(node, python_path=str(broken))
        assert code != 0
        assert "half installed" in said
        assert node.state == before
        assert (await node.until("echo", "running"))["pid"] == pid


async def test_without_a_node_there_is_nothing_to_reload(tmp_path: Path) -> None:
    node = Node(data_dir=tmp_path / "data", packages=tmp_path)
    code, said = await reload(node)
    await node.close()
    assert code == 1
    assert "no node runs on" in said
    assert "Traceback" not in said
