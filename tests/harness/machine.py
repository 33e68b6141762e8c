"""A machine of its own for a test: a copy-on-write view of this one's files, with namespaces as a container has them.

`/opt/agent-manager` holds what the Dockerfile's own steps install, `/opt/python` the interpreter under it,
`/opt/dependencies` the packages of the test's environment: they are not downloaded again.
"""

from __future__ import annotations

import functools
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness.deployment import DEPLOY, REPOSITORY

UID = 65532
_NAMESPACES = ("unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child")

_MAKE_ROOT = """
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs "$WORK"
mkdir "$WORK/upper" "$WORK/work" "$WORK/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$WORK/upper,workdir=$WORK/work" "$WORK/root"
cd "$WORK/root"
mount -t proc proc proc
mount -t tmpfs tmpfs run
mount --rbind /dev dev
mkdir -p opt/python opt/dependencies opt/agent-manager
mount --bind "$PYTHON" opt/python
mount --bind "$DEPENDENCIES" opt/dependencies
mount --bind "$INSTALLED" opt/agent-manager
# Where the interpreter has a library of its own, it was linked by a path that others may not enter.
echo /opt/python/lib > etc/ld.so.conf.d/00-python.conf
chroot . ldconfig
"""


@functools.cache
def _available() -> bool:
    if os.getuid() != 0:
        return False
    try:
        probe = "mount --make-rprivate / && mount -t tmpfs tmpfs /mnt"
        return subprocess.run([*_NAMESPACES, "sh", "-c", probe], capture_output=True, timeout=20).returncode == 0
    except FileNotFoundError:
        return False


needs_machine = pytest.mark.skipif(not _available(), reason="mounting needs root's rights")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One of the Dockerfile's."""

    stage: str
    name: str
    rest: str


def dockerfile() -> list[Instruction]:
    """The instructions with the stage they belong to, continued lines joined."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    found, stage = [], ""
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        name, rest = line.split(maxsplit=1)
        if name == "FROM":
            stage = rest.split(" AS ")[1]
        found.append(Instruction(stage, name, rest))
    return found


def instructions(stage: str, name: str) -> list[str]:
    """The rest of each instruction of this name in a stage."""
    return [each.rest for each in dockerfile() if (each.stage, each.name) == (stage, name)]


def environment_of(*stages: str) -> dict[str, str]:
    """What ENV gives to a program in the last of these stages."""
    pairs = (shlex.split(rest) for stage in stages for rest in instructions(stage, "ENV"))
    return dict(pair.split("=", 1) for line in pairs for pair in line)


def machine(script: str, *more_namespaces: str) -> list[str]:
    """A command that makes a machine and carries out a script in it, in the folder that becomes its root."""
    return [*_NAMESPACES, *more_namespaces, "sh", "-c", f"{_MAKE_ROOT}\n{script}"]


def variables_of(installed: Path, work: Path) -> dict[str, str]:
    """What that command needs in its environment; `work` is an empty folder."""
    return {
        "WORK": str(work),
        "PYTHON": sys.base_prefix,
        "DEPENDENCIES": sysconfig.get_path("purelib"),
        "INSTALLED": str(installed),
    }


def install(directory: Path) -> Path:
    """Carry out the installation in the Dockerfile's build stage; the folder that is /opt/agent-manager in it.

    The packages it depends on are those of the test's environment instead of downloaded ones, and so is the compiler.
    """
    context, installed, work = (directory / name for name in ("context", "installed", "work"))
    for folder in (context, installed, work):
        folder.mkdir()
    for rest in instructions("build", "COPY"):
        *sources, target = rest.split()
        for source in sources:
            _copy(REPOSITORY / source, context / target)
    [steps] = (rest for rest in instructions("build", "RUN") if rest.startswith("python -m venv"))
    steps = steps.replace("python -m venv", "/opt/python/bin/python3 -m venv")
    variables = " ".join(f"{name}={value}" for name, value in environment_of("build").items())
    script = (
        f"mkdir -p src && mount --bind {context} src && chroot . /bin/sh -euc 'cd /src; export {variables}; {steps}'"
    )
    done = subprocess.run(
        machine(script),
        env={**os.environ, **variables_of(installed, work), "PIP_NO_DEPS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout
    [site] = installed.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text("/opt/dependencies\n", encoding="utf-8")
    return installed


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    else:
        shutil.copy(source, target)
