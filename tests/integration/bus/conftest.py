"""A server of its own for each test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.harness.fakes import owned_tasks
from tests.harness.nats_server import NatsHarness, running_nats


@pytest.fixture
async def nats(tmp_path: Path) -> AsyncIterator[NatsHarness]:
    async with running_nats(tmp_path) as harness:
        yield harness


@pytest.fixture
async def tasks() -> AsyncIterator[asyncio.TaskGroup]:
    async with owned_tasks() as group:
        yield group
