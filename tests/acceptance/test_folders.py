"""Package folders that come, break, are mended and go while the node runs."""

from __future__ import annotations

import shutil
from typing import Any

from tests.harness.agents import SDK_AGENT, sdk_agent
from tests.harness.node import Node, kill, write_package
from tests.harness.waiting import eventually


async def package(node: Node, name: str) -> dict[str, Any]:
    items = (await node.get("/packages"))["items"]
    return next((item for item in items if item["name"] == name), {})


async def becomes(node: Node, name: str, status: str) -> None:
    async def there() -> bool:
        return (await package(node, name)).get("status") == status

    await eventually(there)


async def test_a_folder_dropped_in_broken_mended_and_removed(node: Node) -> None:
    sdk_agent(node.packages, "bystander")
    await node.up()
    bystander = await node.until("bystander", "running")

    write_package(node.packages, "late_comer", "version: 1.0.0\nentrypoint: agent.py\n", SDK_AGENT)
    first = await node.until("late-comer", "running")

    manifest = node.packages / "late_comer" / "agent.yaml"
    manifest.write_text("version: 1.0.0\nentrypoint: agent.py\nreplicas: many\n", encoding="utf-8")

    await becomes(node, "late_comer", "invalid")
    (fault,) = (await package(node, "late_comer"))["faults"]
    assert fault["file"] == "late_comer/agent.yaml"
    assert fault["line"] == 3
    assert fault["key"] == "replicas"
    assert "many" in fault["value"]
    assert fault["expected"]
    assert (await node.until("late-comer", "running"))["pid"] == first["pid"]

    manifest.write_text("version: 1.1.0\nentrypoint: agent.py\n", encoding="utf-8")

    await becomes(node, "late_comer", "available")
    assert (await node.agent("late-comer"))["version"] == "1.1.0"

    shutil.rmtree(node.packages / "late_comer")
    await node.until("late-comer", "stopped")
    assert (await package(node, "late_comer"))["status"] == "unavailable"
    assert (await node.agent("late-comer"))["lifecycle"] == "active"

    write_package(node.packages, "late_comer", "version: 2.0.0\nentrypoint: agent.py\n", SDK_AGENT)
    await node.until("late-comer", "running")
    assert (await node.until("bystander", "running"))["pid"] == bystander["pid"]


async def test_an_agent_given_up_while_its_package_was_broken_starts_when_all_is_as_it_was(node: Node) -> None:
    folder = sdk_agent(node.packages, "broken_for_a_while")
    files = {name: (folder / name).read_text(encoding="utf-8") for name in ("agent.yaml", "agent.py")}
    await node.up()
    first = await node.until("broken-for-a-while", "running")

    (folder / "agent.yaml").write_text("version: [\n", encoding="utf-8")
    (folder / "agent.py").write_text("import nothing_of_this_name\n", encoding="utf-8")
    await becomes(node, "broken_for_a_while", "invalid")
    kill(first["pid"])
    await node.until("broken-for-a-while", "error")

    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    await node.until("broken-for-a-while", "running")
    told = await node.query("SELECT message FROM events WHERE type = 'package_mended'")
    assert told == ["package broken_for_a_while is valid again; what was given up is started"]


async def test_a_package_that_never_was_valid_is_listed_with_its_faults_and_can_be_mended(node: Node) -> None:
    folder = write_package(node.packages, "wip", "entrypoint: missing.py\nnonsense: 1\n", SDK_AGENT)
    await node.up()
    listed = await package(node, "wip")
    assert listed["status"] == "invalid"
    assert {fault["key"] for fault in listed["faults"]} >= {"version", "nonsense", "entrypoint"}
    assert await node.agent("wip") == {}

    (folder / "agent.yaml").write_text("version: 1.0.0\nentrypoint: agent.py\n", encoding="utf-8")
    await node.until("wip", "running")


async def test_names_that_are_not_packages_are_skipped(node: Node) -> None:
    for name in ("_template", "test", "__pycache__"):
        write_package(node.packages, name, "version: 1.0.0\nentrypoint: agent.py\n", SDK_AGENT)
    sdk_agent(node.packages, "real")
    await node.up()
    await node.until("real", "running")
    assert [item["name"] for item in (await node.get("/packages"))["items"]] == ["real"]


async def test_an_agent_without_autostart_waits_for_its_start(node: Node) -> None:
    sdk_agent(node.packages, "patient", extra="autostart: false\n")
    sdk_agent(node.packages, "eager")
    await node.up()
    await node.until("eager", "running")
    patient = await node.agent("patient")
    assert patient["lifecycle"] == "ready"
    assert patient["availability"] == "offline"
    answer = await node.post("/agents/patient/start", wait=30)
    assert answer.status_code == 200
    assert answer.json()["agent"]["instances"][0]["status"] == "running"
