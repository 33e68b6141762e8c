"""A NATS server per test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.harness.nats_server import NatsHarness, running_nats


@pytest.fixture
async def nats(tmp_path: Path) -> AsyncIterator[NatsHarness]:
    """A server of its own."""
    async with running_nats(tmp_path / "nats") as harness:
        yield harness


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where an agent's script and log go, and its working directory."""
    path = tmp_path / "agent"
    path.mkdir()
    return path
