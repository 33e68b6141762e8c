"""A server of its own for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.harness.nats_server import NatsHarness, running_nats


@pytest.fixture
async def nats(tmp_path: Path) -> AsyncIterator[NatsHarness]:
    async with running_nats(tmp_path) as harness:
        yield harness
