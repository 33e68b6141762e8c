"""A real systemd as PID 1 of a machine of its own, with the units of `deploy/systemd/` installed as the page says."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.harness import machine
from tests.harness.deployment import SYSTEMD
from tests.harness.waiting import wait_until

PROGRAM = Path("/lib/systemd/systemd")

_BOOT = """
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
rm -rf etc/systemd/system
cp -r "$UNITS" etc/systemd/system
cp -r "$CONFIGURATION" etc/agent-manager
chroot . useradd --system --home-dir /var/lib/agent-manager --shell /usr/sbin/nologin agent-manager
mkdir -p srv/agent-manager
cp -r "$PACKAGES" srv/agent-manager/packages
exec chroot . /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=other \
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
        enter = ("nsenter", f"--target={self.init}", "--mount", "--pid", "--cgroup", "--ipc", "--uts", "--root", "--wd")
        done = subprocess.run(
            [*enter, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60
        )
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def start(self, unit: str) -> None:
        """Start a unit and wait until systemd says that it has started."""
        try:
            self.run("systemctl", "start", unit)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.status(unit)}\n{self.output(unit)}") from None

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
def running_systemd(
    directory: Path, installed: Path, *, packages: Path, configuration: Path, drop_ins: Mapping[str, str]
) -> Iterator[Systemd]:
    """Boot. `configuration` becomes /etc/agent-manager; `drop_ins` are more settings of units by their names."""
    units, work = directory / "units", directory / "work"
    shutil.copytree(SYSTEMD, units, ignore=shutil.ignore_patterns("credentials.conf"))
    (units / "idle.target").write_text(_IDLE, encoding="utf-8")
    for unit in SYSTEMD.glob("*.service"):
        folder = units / f"{unit.name}.d"
        folder.mkdir(exist_ok=True)
        (folder / "apart.conf").write_text(_APART, encoding="utf-8")
        (folder / "test.conf").write_text(drop_ins.get(unit.name, ""), encoding="utf-8")
    work.mkdir()
    environment = machine.variables_of(installed, work) | {
        "UNITS": str(units),
        "CONFIGURATION": str(configuration),
        "PACKAGES": str(packages),
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
