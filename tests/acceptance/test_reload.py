"""`agent-manager reload`: the installed version takes over, and no agent notices."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import psutil

from tests.harness.node import Node, node_under_test, write_package
from tests.harness.waiting import eventually

SHELL = "version: '1'\ncommand: [sleep, '100000']\nheartbeat: none\n"


async def reload(node: Node) -> tuple[int, str]:
    """Run the command; its exit code and what it says."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "agent_manager.cli", "reload", "--data-dir", str(node.data_dir)),
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


_HALF_INSTALLED = """
import sys

class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == {module!r}:
            raise ImportError("half installed")

sys.meta_path.insert(0, Finder)
"""


_LOADED = (
    *("sqlalchemy", "agent_manager.launcher.log_pump", "agent_manager.launcher.zygote"),
    *("management_api.__main__", "agent_manager.cli.console"),
)
"""By manager, log pump, zygote, API and console."""


async def test_a_version_that_cannot_be_loaded_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    async with node_under_test(tmp_path, "echo") as node:
        node.environment = {"PYTHONPATH": str(broken)}
        await node.up()
        pid = (await node.until("echo", "running"))["pid"]
        before = node.state
        for module in _LOADED:
            # What an upgrade that went wrong looks like to those who are started now.
            (broken / "sitecustomize.py").write_text(_HALF_INSTALLED.format(module=module))
            code, said = await reload(node)
            assert (module, code) == (module, 1)
            assert "half installed" in said
        assert node.state["pids"] == before["pids"]
        assert node.state["reloads_refused"] == len(_LOADED)
        assert (await node.until("echo", "running"))["pid"] == pid


async def test_a_launcher_that_does_not_know_how_is_left_alone(tmp_path: Path) -> None:
    async with node_under_test(tmp_path, "echo") as node:
        await node.up()
        pids = node.state["pids"]
        state = {key: value for key, value in node.state.items() if not key.startswith("reload")}
        (node.data_dir / "up.json").write_text(json.dumps(state))
        code, said = await reload(node)
        assert code == 1
        assert "restart it once" in said
        assert psutil.pid_exists(pids["launcher"])


async def test_without_a_node_there_is_nothing_to_reload(tmp_path: Path) -> None:
    node = Node(data_dir=tmp_path / "data", packages=tmp_path)
    code, said = await reload(node)
    await node.close()
    assert code == 1
    assert "no node runs on" in said
    assert "Traceback" not in said
