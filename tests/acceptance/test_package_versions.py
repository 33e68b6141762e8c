"""Packages that change while their agents run: what is switched, when, and what is kept."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import psutil

from tests.harness.agents import SDK_AGENT, sdk_agent
from tests.harness.node import SHIPPED, Node, alive, kill, write_package
from tests.harness.waiting import eventually
from tests.harness.wheels import requirements, write_wheel

USES_A_LIBRARY = "import friendly\n" + SDK_AGENT


async def package(node: Node, name: str) -> dict[str, Any]:
    items = (await node.get("/packages"))["items"]
    return next((item for item in items if item["name"] == name), {})


async def becomes(node: Node, name: str, status: str) -> dict[str, Any]:
    async def there() -> dict[str, Any]:
        found = await package(node, name)
        return found if found.get("status") == status else {}

    found: dict[str, Any] = await eventually(there, 60.0)
    return found


async def moved(node: Node, agent_id: str, old_digest: str) -> dict[str, Any]:
    """The agent once every instance runs in another version than `old_digest`."""

    async def there() -> dict[str, Any]:
        agent = await node.agent(agent_id)
        instances = agent.get("instances", [])
        done = agent.get("digest") not in (None, old_digest) and all(
            instance["status"] == "running" and instance["digest"] == agent["digest"] for instance in instances
        )
        return agent if done and instances else {}

    found: dict[str, Any] = await eventually(there, 60.0)
    return found


async def test_changed_code_restarts_its_instances_one_after_the_other_and_nobody_else(node: Node) -> None:
    folder = sdk_agent(node.packages, "worker", extra="replicas: 2\n")
    sdk_agent(node.packages, "bystander")
    await node.up()
    bystander = await node.until("bystander", "running")
    before = [await node.until("worker", "running", ordinal=ordinal) for ordinal in range(2)]
    first = await node.agent("worker")
    assert first["up_to_date"]
    assert first["digest"] == (await package(node, "worker"))["digest"] == before[0]["digest"]

    (folder / "agent.py").write_text(SDK_AGENT + "# changed\n", encoding="utf-8")

    after = await moved(node, "worker", first["digest"])
    assert after["up_to_date"]
    pids = {instance["pid"] for instance in after["instances"]}
    assert pids.isdisjoint(instance["pid"] for instance in before)
    assert "its package has changed" in after["instances"][0]["last_exit"]["message"]
    assert (await node.until("bystander", "running"))["pid"] == bystander["pid"]


async def test_a_package_that_keeps_what_runs_shows_both_versions_until_it_is_restarted(node: Node) -> None:
    folder = sdk_agent(node.packages, "steady", extra="on_change: keep\n")
    await node.up()
    before = await node.until("steady", "running")
    (folder / "agent.yaml").write_text("version: 2.0.0\nentrypoint: agent.py\non_change: keep\n", encoding="utf-8")

    async def is_known() -> bool:
        return (await node.agent("steady")).get("version") == "2.0.0"

    await eventually(is_known)
    agent = await node.agent("steady")
    (instance,) = agent["instances"]
    assert not agent["up_to_date"]
    assert (instance["pid"], instance["version"]) == (before["pid"], "1.0.0")
    assert (await node.post("/agents/steady/restart", wait=30)).status_code == 200
    agent = await node.agent("steady")
    assert agent["up_to_date"]
    assert agent["instances"][0]["version"] == "2.0.0"


async def test_what_an_agent_writes_into_its_own_folder_does_not_restart_it(node: Node) -> None:
    code = "import pathlib\nfor name in ('a.log', 'a.db', 'state.json'):\n    pathlib.Path(name).write_text('x')\n"
    write_package(
        node.packages, "writer", "version: 1.0.0\nentrypoint: agent.py\nignore: [state.json]\n", code + SDK_AGENT
    )
    await node.up()
    before = await node.until("writer", "running")
    await eventually((node.packages / "writer" / "state.json").exists)
    # A change that counts comes after what does not: by the time it is seen, the other has been seen.
    sdk_agent(node.packages, "later")
    await node.until("later", "running")
    assert (await node.until("writer", "running"))["pid"] == before["pid"]


async def test_a_manager_that_dies_in_the_middle_leaves_the_rest_to_the_next_one(node: Node) -> None:
    slow_to_stop = "stop: {drain_timeout_s: 1, timeout_s: 1}\nreplicas: 2\n"
    folder = sdk_agent(node.packages, "worker", extra=slow_to_stop)
    await node.up()
    for ordinal in range(2):
        await node.until("worker", "running", ordinal=ordinal)
    first = await node.agent("worker")
    manager = node.pid("manager")
    (folder / "agent.py").write_text(SDK_AGENT + "# changed\n", encoding="utf-8")

    async def accepted() -> bool:
        return bool((await node.agent("worker")).get("digest") != first["digest"])

    await eventually(accepted)
    kill(manager)
    await node.replaced("manager", manager)
    await moved(node, "worker", first["digest"])


async def test_a_manager_that_starts_while_the_folder_is_gone_keeps_the_agents_and_says_why(node: Node) -> None:
    sdk_agent(node.packages, "kept")
    await node.up()
    before = await node.until("kept", "running")
    away = node.packages.rename(node.packages.parent / "away")
    manager = node.pid("manager")
    kill(manager)
    await node.replaced("manager", manager)
    log = node.data_dir / "logs" / "services" / "manager.log"
    await eventually(lambda: "packages_unavailable" in log.read_text(encoding="utf-8"))
    assert (await node.until("kept", "running"))["pid"] == before["pid"]
    assert (await package(node, "kept"))["status"] == "available"
    away.rename(node.packages)
    await eventually(lambda: "packages_available" in log.read_text(encoding="utf-8"))
    assert (await node.until("kept", "running"))["pid"] == before["pid"]
    assert "agents are kept as they are" in node.console()


async def test_an_environment_is_made_before_the_switch_and_one_that_fails_keeps_what_runs(
    node: Node, tmp_path: Path
) -> None:
    wheels = tmp_path / "wheels"
    write_wheel(wheels, "friendly", "1.0")
    folder = node.packages / ".making"
    folder.mkdir()
    (folder / "requirements.txt").write_text(requirements(wheels, "friendly==1.0"), encoding="utf-8")
    (folder / "agent.py").write_text(USES_A_LIBRARY, encoding="utf-8")
    (folder / "agent.yaml").write_text("version: 1.0.0\nentrypoint: agent.py\n", encoding="utf-8")
    folder = folder.rename(node.packages / "own_libs")
    sdk_agent(node.packages, "bystander")
    await node.up()
    await node.until("bystander", "running")
    first = await node.until("own-libs", "running")
    python = psutil.Process(first["pid"]).environ()["VIRTUAL_ENV"]
    assert python.startswith(str(node.data_dir / "environments"))

    (folder / "requirements.txt").write_text(requirements(wheels, "friendly==2.0"), encoding="utf-8")
    failed = await becomes(node, "own_libs", "failed")
    assert "friendly==2.0" in failed["faults"][0]["message"]
    assert failed["digest"] != first["digest"]
    assert alive(first["pid"])
    assert (await node.until("own-libs", "running"))["pid"] == first["pid"]

    write_wheel(wheels, "friendly", "2.0")
    assert (await node.post("/packages/own_libs/retry")).status_code == 202
    after = await moved(node, "own-libs", first["digest"])
    assert after["digest"] == failed["digest"]
    assert (await package(node, "own_libs"))["status"] == "available"
    assert (await node.post("/packages/own_libs/retry")).status_code == 409


async def test_a_copy_of_the_template_runs_from_the_moment_it_is_copied(node: Node) -> None:
    await node.up()
    shutil.copytree(SHIPPED / "_template", node.packages / "greeter")
    await node.until("greeter", "running")
    assert (await node.agent("greeter"))["up_to_date"]
