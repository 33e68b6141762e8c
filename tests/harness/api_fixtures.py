"""A bus, a fake manager on it and the API between them and the test, for the `conftest.py` of whoever needs them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.harness.fake_manager import FakeManager, answering
from tests.harness.live_api import LiveApi, running_api
from tests.harness.nats_server import NatsHarness, running_nats


@pytest.fixture
async def nats(tmp_path: Path) -> AsyncIterator[NatsHarness]:
    """A bus with nobody on it."""
    async with running_nats(tmp_path) as harness:
        yield harness


@pytest.fixture
async def manager(nats: NatsHarness) -> AsyncIterator[FakeManager]:
    """A manager that answers."""
    async with answering(await nats.connect_as_manager()) as fake:
        yield fake


@pytest.fixture
async def api(nats: NatsHarness) -> AsyncIterator[LiveApi]:
    """The API, connected; with short patience."""
    async with running_api(nats, service={"request_timeout_s": 2.0}) as live:
        yield live
