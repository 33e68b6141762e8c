"""Programs in PID and mount namespaces of their own, as a container engine would start them."""

from __future__ import annotations

import functools
import os
import subprocess

import psutil
import pytest

from tests.harness.waiting import wait_until

_UNSHARE = ("unshare", "--pid", "--mount", "--fork", "--mount-proc", "--kill-child")
_AS_ROOT = () if os.getuid() == 0 else ("--user", "--map-root-user")

AS_PID_ONE = (*_UNSHARE, *_AS_ROOT)
"""What to put before a command; it ends with the command's exit code."""


@functools.cache
def _available() -> bool:
    try:
        return subprocess.run([*AS_PID_ONE, "true"], capture_output=True, timeout=20).returncode == 0
    except FileNotFoundError:
        return False


needs_namespaces = pytest.mark.skipif(not _available(), reason="PID namespaces cannot be made here")


def pid_one(unshare: int) -> psutil.Process:
    """The first process inside, as seen from outside."""
    found: psutil.Process = wait_until(lambda: psutil.Process(unshare).children())[0]
    return found
