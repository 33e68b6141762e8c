"""Cgroups, where this machine lets a launcher make them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent_manager.launcher import cgroups
from agent_manager.launcher.cgroups import Cgroup
from agent_manager.launcher.limits import UNLIMITED


def remove_cgroups(installation: str) -> None:
    """Remove what a launcher that was killed has left."""
    left = cgroups.detect(installation)
    if left is not None:
        left.close()


def wants_cgroups() -> None:
    """Skip the test where there are none to be had."""
    with a_cgroup():
        pass


@contextmanager
def a_cgroup() -> Iterator[Path]:
    """The directory of an empty one; the test is skipped where there are none to be had."""
    found = cgroups.detect(f"test-{uuid.uuid4().hex}")
    if found is None:
        pytest.skip("no cgroup of version 2 may be made here")
    path = Path(found.make("one", UNLIMITED).export()["path"])
    try:
        yield path
    finally:
        Cgroup(path).remove()
        found.close()
