"""The units under a real systemd: hardened as they are shipped, with credentials, watchdog, reload and stop."""

from __future__ import annotations

import json
import re
import signal
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from agent_manager.adapters.nats.embedded import free_port
from tests.harness.deployment import PAGE, commands
from tests.harness.machine import needs_machine
from tests.harness.nats_server import NatsHarness
from tests.harness.node import write_package
from tests.harness.systemd import PROGRAM, Systemd, running_systemd
from tests.harness.waiting import eventually, wait_until

pytestmark = [
    needs_machine,
    pytest.mark.skipif(not PROGRAM.exists(), reason="systemd is not installed"),
    pytest.mark.timeout(300),
]

NODE, API = "agent-manager.service", "management-api.service"

_PROBE = """
import os, time
from pathlib import Path

def tries(what, action):
    try:
        action()
    except OSError as error:
        print(what, "refused", type(error).__name__, flush=True)
    else:
        print(what, "done", flush=True)

tries("system", lambda: Path("/etc/planted").write_text("x"))
tries("packages", lambda: Path("planted").write_text("x"))
tries("home", lambda: os.listdir("/root"))
tries("clock", lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()))
tries("own", lambda: Path("/tmp/own").write_text("x"))
print("environment", sorted(name for name in os.environ if name.startswith(("NOTIFY", "WATCHDOG"))), flush=True)
while True:
    time.sleep(1000)
"""

_PROBE_MANIFEST = 'version: "1.0.0"\nentrypoint: agent.py\nheartbeat: none\n'

_TABLES = """
import sqlite3
print(sqlite3.connect("/root/agent-manager.db").execute("SELECT name FROM sqlite_master").fetchall())
"""

_IMPATIENT = """
mkdir -p /etc/systemd/system/agent-manager.service.d
printf '[Service]\\nWatchdogSec=3\\n' > /etc/systemd/system/agent-manager.service.d/impatient.conf
systemctl daemon-reload
systemctl restart agent-manager.service
"""


@dataclass(frozen=True, slots=True)
class Host:
    """A host on which both units run."""

    systemd: Systemd
    api_port: int

    def agent(self, agent_id: str) -> dict[str, Any]:
        """One agent, as the API tells; empty while it tells nothing."""
        try:
            url = f"http://127.0.0.1:{self.api_port}/api/v1/agents/{agent_id}"
            with urllib.request.urlopen(url, timeout=20) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except OSError:
            return {}

    async def pid(self, agent_id: str, *, other_than: int | None = None) -> int:
        """The process of an agent's first instance once it runs."""

        def running() -> int:
            instances = self.agent(agent_id).get("instances", [])
            pids = [i["pid"] for i in instances if i["status"] == "running" and i["pid"] != other_than]
            return pids[0] if pids else 0

        try:
            return int(await eventually(running, 60.0))
        except TimeoutError:
            raise AssertionError(f"{self.agent(agent_id)}\n{self.systemd.output(NODE)}") from None

    @property
    def launcher(self) -> int:
        """The unit's main process, as it is called inside."""
        return int(self.systemd.show(NODE, "MainPID"))

    def state(self) -> dict[str, Any]:
        """What the node's state file says."""
        state: dict[str, Any] = json.loads(self.systemd.run("cat", "/var/lib/agent-manager/up.json"))
        return state

    def follow(self, heading: str) -> None:
        """Do what the page says below a heading."""
        for block in commands(PAGE, heading):
            try:
                self.systemd.follow(block.replace("127.0.0.1:8000", f"127.0.0.1:{self.api_port}"))
            except AssertionError as error:
                raise AssertionError(f"{error}\n{self.systemd.output(NODE)}\n{self.systemd.output(API)}") from None


@pytest.fixture
async def host(tmp_path: Path, installed: Path, nats_server: NatsHarness) -> AsyncIterator[Host]:
    """Both units, installed and started as the page says; the probe is one more package."""
    port = free_port("127.0.0.1")
    (tmp_path / "packages").mkdir()
    probe = write_package(tmp_path / "packages", "probe", _PROBE_MANIFEST, _PROBE)
    with running_systemd(tmp_path, installed, _configuration(tmp_path / "etc", nats_server, port)) as systemd:
        systemd.follow(f"mkdir -p /srv/agent-manager/packages; cp -r {probe} /srv/agent-manager/packages/")
        host = Host(systemd, port)
        host.follow("systemd")
        yield host


def _configuration(folder: Path, server: NatsHarness, api_port: int) -> Path:
    """/etc/agent-manager with what its owner brings."""
    files = server.files
    url = f"NATS_URL={server.url}\n"
    (folder / "secrets").mkdir(parents=True)
    for name, content in {
        "secrets/nats.creds": files.manager_credentials.read_text(),
        "secrets/nats-signing.nk": files.signing_key.read_text(),
        "secrets/database-url": "sqlite:////var/lib/agent-manager/agent-manager.db\n",
        "secrets/api.creds": files.api_credentials.read_text(),
        "environment": f"AGENT_MANAGER_{url}AGENT_MANAGER_NATS_ACCOUNT={server.prepared.keyring.account.public}\n",
        "management-api.environment": f"MANAGEMENT_API_{url}MANAGEMENT_API_SERVICE_PORT={api_port}\n",
    }.items():
        (folder / name).write_text(content)
        (folder / name).chmod(0o600)
    return folder


async def test_a_node_starts_is_confined_reloads_and_stops(host: Host) -> None:
    systemd = host.systemd
    await host.pid("probe")
    assert systemd.show(NODE, "StatusText") == "All services are ready"

    said = wait_until(
        lambda: (
            (text := systemd.run("cat", "/var/log/agent-manager/agents/probe_0.out.log", check=False)).count("\n") >= 6
            and text
        )
    )
    assert said.splitlines()[:5] == [
        "system refused OSError",
        "packages refused OSError",
        "home refused PermissionError",
        "clock refused PermissionError",
        "own done",
    ]
    assert said.splitlines()[5] == "environment []"
    services = systemd.run("stat", "--format=%U %a", "/run/agent-manager/services.json")
    assert services == "agent-manager 600\n"

    wait_until(lambda: "instances_adopted" in systemd.output(NODE))

    clock, manager = await host.pid("clock"), host.state()["pids"]["manager"]
    host.follow("Upgrading")
    await eventually(lambda: host.state()["pids"]["manager"] not in (manager, None))
    assert await host.pid("clock") == clock
    host.follow("Backup")
    tables = systemd.run("python3", "-c", _TABLES)
    assert "agents" in tables

    systemd.run("systemctl", "stop", NODE, API)
    for unit in (NODE, API):
        assert (unit, systemd.show(unit, "Result"), systemd.show(unit, "NRestarts")) == (unit, "success", "0")
    left = systemd.run("ps", "-o", "args=", "-u", "agent-manager", check=False)
    assert left == ""


async def test_a_killed_manager_costs_no_agent_and_a_launcher_that_hangs_is_replaced(host: Host) -> None:
    systemd = host.systemd
    systemd.follow(_IMPATIENT)
    agent, launcher, manager = await host.pid("probe"), host.launcher, host.state()["pids"]["manager"]

    systemd.run("kill", "-KILL", str(manager))
    await eventually(lambda: host.state()["pids"]["manager"] not in (manager, None))
    assert await host.pid("probe") == agent
    assert host.launcher == launcher

    systemd.run("kill", f"-{signal.SIGSTOP.value}", str(launcher))
    await eventually(lambda: host.launcher not in (0, launcher), 60.0)
    assert await host.pid("probe", other_than=agent)
    assert systemd.show(NODE, "NRestarts") == "1"
    assert not [p for p in psutil.Process(systemd.init).children(recursive=True) if p.status() == psutil.STATUS_ZOMBIE]


def test_every_command_of_the_page_that_can_be_run_is_run() -> None:
    followed = [block for heading in ("systemd", "Upgrading", "Backup") for block in commands(PAGE, heading)]
    assert followed == commands(PAGE)
    kinds = set(re.findall(r"^```(\w+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert kinds == {"bash", "console"}
