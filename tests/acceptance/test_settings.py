"""Settings of a running node: read from the file at the start, and again on SIGHUP."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from tests.harness.node import Node
from tests.harness.waiting import eventually


def log_of(node: Node, service: str) -> list[dict[str, Any]]:
    """The whole lines of a service's log so far."""
    text = (node.data_dir / "logs" / "services" / f"{service}.log").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("}\n")]


async def test_hangup_applies_what_can_change_and_names_what_waits_for_the_next_manager(
    shipped_node: Node, tmp_path: Path
) -> None:
    node, file = shipped_node, tmp_path / "agent_manager.yaml"
    file.write_text("service:\n  discovery_interval: 20s\n")
    await node.up("--config", str(file))
    before = await node.until("echo", "running")
    manager = node.pid("manager")

    file.write_text("service:\n  log_level: DEBUG\n  discovery_interval: 10s\n")
    os.kill(manager, signal.SIGHUP)
    await eventually(lambda: [line for line in log_of(node, "manager") if line["event"] == "setting_waits_for_start"])
    said = {line["setting"]: line["event"] for line in log_of(node, "manager") if "setting" in line}
    assert said == {
        "service.log_level": "setting_changed",
        "service.discovery_interval": "setting_waits_for_start",
    }

    file.write_text("service:\n  log_level: LOUD\n")
    os.kill(manager, signal.SIGHUP)
    await eventually(lambda: [line for line in log_of(node, "manager") if line["event"] == "settings_refused"])
    assert node.pid("manager") == manager
    assert (await node.until("echo", "running"))["pid"] == before["pid"]


async def test_a_manager_whose_settings_are_wrong_says_so_and_agents_run_on_until_they_are_mended(
    shipped_node: Node, tmp_path: Path
) -> None:
    node, file = shipped_node, tmp_path / "agent_manager.yaml"
    file.write_text("service:\n  log_level: INFO\n")
    await node.up("--config", str(file))
    before = await node.until("echo", "running")

    file.write_text("service:\n  log_level: LOUD\n")
    os.kill(node.pid("manager"), signal.SIGTERM)
    refused = await eventually(
        lambda: [line for line in log_of(node, "manager") if line["event"] == "settings_refused"], 60.0
    )
    assert str(file) + ":2: service.log_level must be one of" in refused[0]["fault"]

    file.write_text("service:\n  log_level: INFO\n")
    assert (await node.until("echo", "running"))["pid"] == before["pid"]
