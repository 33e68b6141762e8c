"""The image's node as an engine would run it: its steps carried out in a root file system that is read-only then.

No engine is needed, and none is tried: namespaces, mounts and users are what one would use.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.harness.deployment import REPOSITORY
from tests.harness.machine import UID, environment_of, instructions, machine, needs_machine, variables_of
from tests.harness.namespaces import AS_PID_ONE, pid_one
from tests.harness.nats_server import NatsHarness
from tests.harness.node import write_package
from tests.harness.waiting import eventually, wait_until

pytestmark = [needs_machine, pytest.mark.timeout(300)]

_PROBE = """
import os, subprocess, sys, time
from pathlib import Path

def tries(what, path):
    try:
        Path(path).write_text("x")
    except OSError as error:
        print(what, "refused", flush=True)
    else:
        print(what, "done", flush=True)

tries("root", "/planted")
tries("image", "/opt/agent-manager/planted")
tries("packages", "planted")
tries("temporary", "/tmp/planted")
print("user", os.getuid(), os.getgid(), os.getgroups(), flush=True)
for _ in range(5):
    subprocess.Popen(["sh", "-c", "(sleep 0.2 &) ; exit 0"], start_new_session=True).wait()
print("orphans left", flush=True)
while True:
    time.sleep(1000)
"""

_START = """
chroot . /bin/sh -euc "$STEPS"
mount --bind "$DATA" var/lib/agent-manager
chown {uid}:{uid} var/lib/agent-manager
mount --bind "$PACKAGES" srv/agent-manager/packages
mount -o remount,bind,ro srv/agent-manager/packages
mkdir run/secrets
mount --bind "$SECRETS" run/secrets
mount -t tmpfs tmpfs tmp
mount -o remount,bind,ro opt/agent-manager
mount -o remount,ro "$WORK/root"
exec chroot --userspec={uid}:{uid} --groups= . /usr/bin/env -i {environment} {command}
"""


@dataclass(frozen=True, slots=True)
class Container:
    """A container that runs the node."""

    process: subprocess.Popen[bytes]
    data: Path
    output: Path

    @property
    def init(self) -> psutil.Process:
        """Its PID 1, seen from outside."""
        return pid_one(self.process.pid)

    @property
    def is_healthy(self) -> bool:
        """What the image's health check finds."""
        [rest] = instructions("node", "HEALTHCHECK")
        check = json.loads(rest.split(" CMD ")[1])
        enter = ("nsenter", f"--target={self.init.pid}", "--mount", "--root")
        return subprocess.run([*enter, *check], timeout=20).returncode == 0

    def said(self) -> str:
        """What it has printed, and the launcher's own words."""
        return self.output.read_text(encoding="utf-8")

    def log(self, name: str) -> str:
        """An agent's log."""
        path = self.data / "logs" / "agents" / name
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def zombies(self) -> list[psutil.Process]:
        """What nobody has reaped yet."""
        found = []
        for process in self.init.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.status() == psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def processes(self, word: str = "") -> list[psutil.Process]:
        """All that live, or those with a word in their command line."""
        found = []
        for process in (self.init, *self.init.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                if word in " ".join(process.cmdline()):
                    found.append(process)
        return found


@pytest.fixture
async def container(tmp_path: Path, installed: Path, nats_server: NatsHarness) -> AsyncIterator[Container]:
    """A node in a container, once it is healthy and its agent runs."""
    started = _start(tmp_path, installed, _bus(tmp_path / "secrets", nats_server))
    try:
        await eventually(lambda: started.process.poll() is not None or started.log("probe_0.out.log"), 60.0)
        assert started.process.poll() is None, started.said()
        assert started.is_healthy
        yield started
    finally:
        # PID 1 takes every process of its namespace along; its user has changed since, so nothing else ends it.
        with contextlib.suppress(psutil.Error):
            started.init.kill()
        started.process.kill()
        started.process.wait()


def _start(directory: Path, installed: Path, settings: Mapping[str, str]) -> Container:
    data, packages, work = (directory / name for name in ("data", "packages", "work"))
    for folder in (data, packages, work):
        folder.mkdir()
    write_package(packages, "probe", 'version: "1.0.0"\nentrypoint: agent.py\nheartbeat: none\n', _PROBE)
    script = _START.format(
        uid=UID,
        environment=shlex.join(f"{k}={v}" for k, v in {**environment_of("base", "node"), **settings}.items()),
        command=shlex.join(
            json.loads(instructions("node", "ENTRYPOINT")[0]) + json.loads(instructions("node", "CMD")[0])
        ),
    )
    given = {
        "STEPS": instructions("base", "RUN")[0],
        "DATA": str(data),
        "PACKAGES": str(packages),
        "SECRETS": str(directory / "secrets"),
    }
    output = directory / "output"
    with output.open("wb") as sink:
        process = subprocess.Popen(
            machine(script),
            env={**os.environ, **variables_of(installed, work), **given},
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
        )
    return Container(process, data, output)


def _bus(secrets: Path, server: NatsHarness) -> dict[str, str]:
    """Settings for the bus, with files that the container's user may read, as engines mount secrets."""
    secrets.mkdir()
    files = {"CREDS": server.files.manager_credentials, "SIGNING_KEY": server.files.signing_key}
    for source in files.values():
        (secrets / source.name).write_bytes(source.read_bytes())
        os.chown(secrets / source.name, UID, UID)
        (secrets / source.name).chmod(0o400)
    return {
        "AGENT_MANAGER_NATS_URL": server.url,
        "AGENT_MANAGER_NATS_ACCOUNT": server.prepared.keyring.account.public,
        **{f"AGENT_MANAGER_NATS_{key}": f"/run/secrets/{source.name}" for key, source in files.items()},
    }


async def test_it_runs_as_nobody_in_particular_on_files_it_cannot_change(container: Container) -> None:
    said = await eventually(lambda: (log := container.log("probe_0.out.log")).count("\n") >= 6 and log.splitlines())
    assert said[:5] == [
        "root refused",
        "image refused",
        "packages refused",
        "temporary done",
        f"user {UID} {UID} []",
    ]
    assert "agent_manager.launcher" in container.init.cmdline()
    assert {process.uids() for process in container.processes()} == {(UID, UID, UID)}


async def test_what_agents_leave_behind_is_reaped(container: Container) -> None:
    await eventually(lambda: "orphans left" in container.log("probe_0.out.log"))

    await eventually(lambda: not container.processes("sleep"))

    await eventually(lambda: not container.zombies())


async def test_a_killed_manager_costs_no_agent(container: Container) -> None:
    # A process that the agent is just starting looks like the agent itself; from then on it starts none.
    await eventually(lambda: "orphans left" in container.log("probe_0.out.log"))
    [agent] = container.processes("agent.py")
    [manager] = container.processes("agent_manager.daemon")
    manager.kill()
    await eventually(lambda: container.processes("agent_manager.daemon") not in ([], [manager]))
    assert container.processes("agent.py") == [agent]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_stop_signal_ends_everything_in_order(container: Container, number: signal.Signals) -> None:
    processes = container.processes()
    assert len(processes) >= 4
    container.init.send_signal(number)
    await eventually(lambda: container.process.poll() is not None)
    assert container.process.returncode == 0
    wait_until(lambda: not [process for process in processes if process.is_running()])
    assert not (container.data / "up.json").exists()
    assert "manager_stopped" in container.said()


def test_a_stop_during_the_preparation_is_heeded(tmp_path: Path) -> None:
    waits = tmp_path / "settings.yaml"
    os.mkfifo(waits)
    command = (sys.executable, "-P", "-m", "agent_manager.cli", "run", "--config", str(waits))
    process = subprocess.Popen([*AS_PID_ONE, *command], cwd=REPOSITORY)
    try:
        init = pid_one(process.pid)
        # Whoever opens the other end does so once the program reads its settings.
        writer = wait_until(lambda: _writer(waits))
        # A signal in the moment before the read begins is seen after it, and only a pipe lets it last.
        wait_until(lambda: "pipe_read" in Path(f"/proc/{init.pid}/wchan").read_text())
        init.terminate()
        assert process.wait(30) == 128 + signal.SIGTERM
        os.close(writer)
    finally:
        process.kill()
        process.wait()


def _writer(pipe: Path) -> int | None:
    with contextlib.suppress(OSError):
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    return None
