"""The programs that make a virtual environment."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Installer:
    """`uv` where there is one, else the standard library's `venv` and pip. `python` is what agents are to run on."""

    python: str
    uv: str | None

    def commands(self, environment: Path, requirements: str) -> tuple[tuple[str, ...], ...]:
        """What to run, one after the other, in the package's folder."""
        inside = str(environment / "bin" / "python")
        if self.uv is not None:
            return (
                (self.uv, "venv", "--python", self.python, str(environment)),
                (self.uv, "pip", "install", "--python", inside, "-r", requirements),
            )
        pip = (inside, "-m", "pip", "install", "--disable-pip-version-check", "--no-input")
        return ((self.python, "-m", "venv", str(environment)), (*pip, "-r", requirements))


def installer_of(environment: Mapping[str, str]) -> Installer:
    """The installer of this machine: `uv` is looked for on `PATH` and beside this interpreter."""
    beside = os.path.dirname(sys.executable)
    uv = shutil.which("uv", path=f"{environment.get('PATH', os.defpath)}{os.pathsep}{beside}")
    return Installer(python=sys.executable, uv=uv)
