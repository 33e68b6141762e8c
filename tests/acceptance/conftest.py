"""Fixtures of the acceptance tests: real nodes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.harness.node import Node, node_under_test


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    """A node without packages; the test brings it up."""
    async with node_under_test(tmp_path) as node:
        yield node


@pytest.fixture
async def shipped_node(tmp_path: Path) -> AsyncIterator[Node]:
    """A node with the packages that are shipped; the test brings it up."""
    async with node_under_test(tmp_path, "echo", "clock", "_template") as node:
        yield node
