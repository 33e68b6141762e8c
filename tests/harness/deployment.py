"""The files of `deploy/`, and the programs that judge them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
DEPLOY = REPOSITORY / "deploy"
SYSTEMD = DEPLOY / "systemd"
PAGE = REPOSITORY / "docs" / "deployment.md"
PREFIX = "/opt/agent-manager"
"""Where unit files and image have the programs; a test has them in its own environment."""

LAUNCHER_STOP_MAX_S = 97
"""What a stop takes at the very most: 90 s for agents, 2 s of hurry, 5 s of force (docs/launcher.md)."""

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="the programs of systemd are not installed"
)


def run(*command: str | Path, **options: Any) -> str:
    """Run a command; what it printed. Fails with that."""
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        **options,
    )
    assert done.returncode == 0, f"{command}: exit code {done.returncode}\n{done.stdout}"
    return done.stdout


def commands(page: Path, heading: str = "", *, kind: str = "bash") -> list[str]:
    """The blocks of a kind on a page, or below one of its headings of the second level."""
    text = page.read_text(encoding="utf-8")
    if heading:
        text = text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def installed(program: str) -> Path:
    """A program of the test's own environment."""
    return Path(sys.prefix) / "bin" / program


def assignments(unit: Path) -> Iterator[tuple[str, str]]:
    """The assignments of a unit file."""
    for line in unit.read_text(encoding="utf-8").splitlines():
        if "=" in line and not line.startswith(("#", "[")):
            key, _, value = line.partition("=")
            yield key, value


def values(pairs: Iterable[tuple[str, str]], key: str) -> list[str]:
    """All values of a key."""
    return [value for name, value in pairs if name == key]


def install_units(directory: Path) -> list[Path]:
    """Copies of the unit files and their drop-ins that name the programs of the test's own environment."""
    shutil.copytree(SYSTEMD, directory, dirs_exist_ok=True)
    units = sorted(directory.glob("*.service"))
    for unit in units:
        unit.write_text(
            unit.read_text(encoding="utf-8").replace(f"{PREFIX}/bin", f"{sys.prefix}/bin"), encoding="utf-8"
        )
    return units
