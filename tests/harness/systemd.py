"""A real systemd as PID 1 of a machine of its own; what is installed on it is the test's affair."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.harness import machine
from tests.harness.deployment import REPOSITORY, SYSTEMD
from tests.harness.waiting import wait_until

PROGRAM = Path("/lib/systemd/systemd")

_BOOT = """
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
rm -rf etc/systemd/system
cp -r "$UNITS" etc/systemd/system
cp -r "$CONFIGURATION" etc/agent-manager
# Not chroot: nobody may make a user namespace in one.
mkdir old
pivot_root . old
cd /
umount --lazy old
# systemd shares its mounts with its children, but not in what it takes for a container: credentials need that.
mount --make-rshared /
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=other \
  /lib/systemd/systemd --system --unit=idle.target --show-status=no --log-target=console
"""

_IDLE = "[Unit]\nDescription=Nothing but systemd\nDefaultDependencies=no\n"

_APART = """
[Unit]
# No journal, no udev, no tmpfiles: nothing that would reach beyond this test.
DefaultDependencies=no

[Service]
StandardOutput=append:/var/log/%p.output
StandardError=append:/var/log/%p.output
"""


@dataclass(frozen=True, slots=True)
class Systemd:
    """What one can do from outside."""

    init: int

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command inside, as root; what it printed."""
        enter = ("nsenter", f"--target={self.init}", "--mount", "--pid", "--cgroup", "--ipc", "--uts")
        done = subprocess.run(
            [*enter, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60
        )
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def follow(self, script: str) -> str:
        """Do what a page says, in a clone of this repository; what was printed."""
        return self.run("sh", "-euc", f"cd {REPOSITORY}\n{script}")

    def status(self, unit: str) -> str:
        """What `systemctl status` says."""
        return self.run("systemctl", "status", "--no-pager", "--full", unit, check=False)

    def show(self, unit: str, key: str) -> str:
        """One property of a unit."""
        return self.run("systemctl", "show", unit, f"--property={key}", "--value").strip()

    def output(self, unit: str) -> str:
        """What the unit has printed."""
        return self.run("cat", f"/var/log/{unit.removesuffix('.service')}.output", check=False)


@contextlib.contextmanager
def running_systemd(directory: Path, installed: Path, configuration: Path) -> Iterator[Systemd]:
    """Boot, with nothing installed but the programs. `configuration` becomes /etc/agent-manager."""
    units, work = directory / "units", directory / "work"
    units.mkdir()
    (units / "idle.target").write_text(_IDLE, encoding="utf-8")
    for unit in SYSTEMD.glob("*.service"):
        (units / f"{unit.name}.d").mkdir()
        (units / f"{unit.name}.d" / "apart.conf").write_text(_APART, encoding="utf-8")
    work.mkdir()
    environment = machine.variables_of(installed, work) | {
        "UNITS": str(units),
        "CONFIGURATION": str(configuration),
    }
    with (directory / "console").open("wb") as console:
        process = subprocess.Popen(
            machine.machine(_BOOT, "--cgroup"),
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
        )
    try:
        yield _booted(process, directory / "console")
    finally:
        process.kill()  # and with it, every process of its namespace
        process.wait()


def _booted(process: subprocess.Popen[bytes], console: Path) -> Systemd:
    def answers() -> Systemd | None:
        assert process.poll() is None, console.read_text(encoding="utf-8")
        for child in psutil.Process(process.pid).children():
            systemd = Systemd(child.pid)
            if child.name() == "systemd" and "running" in systemd.run("systemctl", "is-system-running", check=False):
                return systemd
        return None

    systemd: Systemd = wait_until(answers)
    return systemd
