"""The launcher's compiled part as it was installed, and without optimisation: what it does must not depend on luck."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from agent_manager.launcher import linux

WAYS = ("fork", "compiled", "not optimised")
_SOURCE = Path(linux.__file__).with_name("_vfork.c")

CHOOSE = """
import sys
from importlib.util import module_from_spec, spec_from_file_location
from agent_manager.launcher import linux

if sys.argv[1] == "fork":
    linux.vfork = None
elif sys.argv[1] != "compiled":
    spec = spec_from_file_location("_vfork", sys.argv[1])
    linux.vfork = module_from_spec(spec)
    spec.loader.exec_module(linux.vfork)
"""
"""The beginning of a script whose first argument is what `chosen` returns."""


def can_be_compiled() -> bool:
    """Whether an installation on this machine should have it."""
    headers = Path(sysconfig.get_path("include")) / "Python.h"
    is_for_it = platform.machine() == "x86_64" and platform.libc_ver()[0] == "glibc"
    return is_for_it and headers.exists() and shutil.which("cc") is not None


def chosen(way: str, directory: Path) -> str:
    """The argument for `CHOOSE`; the test is skipped where there is no such thing."""
    if way == "compiled" and linux.vfork is None:
        pytest.skip("was not compiled when this was installed")
    if way != "not optimised":
        return way
    if not can_be_compiled():
        pytest.skip("there is nothing to compile it with, or it is not for this machine")
    library = directory / "_vfork.so"
    include = sysconfig.get_path("include")
    subprocess.run(["cc", "-O0", "-shared", "-fPIC", f"-I{include}", "-o", library, _SOURCE], check=True)
    return str(library)
