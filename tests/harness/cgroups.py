"""Whether this machine lets a launcher make cgroups."""

from __future__ import annotations

import uuid

import pytest

from agent_manager.launcher import cgroups


def remove_cgroups(installation: str) -> None:
    """Remove what a launcher that was killed has left."""
    left = cgroups.detect(installation)
    if left is not None:
        left.close()


def wants_cgroups() -> None:
    """Skip the test where there are none to be had."""
    found = cgroups.detect(f"test-{uuid.uuid4().hex}")
    if found is None:
        pytest.skip("no cgroup of version 2 may be made here")
    found.close()
