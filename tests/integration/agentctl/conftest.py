"""agentctl as a program of its own, on an API of the test's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.harness.agentctl_program import Agentctl
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
    """The API, connected."""
    async with running_api(nats, request_timeout_s=2.0) as live:
        yield live


@pytest.fixture
def agentctl(tmp_path: Path, api: LiveApi) -> Agentctl:
    """agentctl, told where the API is."""
    return Agentctl(tmp_path, AGENT_MANAGER_API_URL=api.url)


@pytest.fixture
def lost_agentctl(tmp_path: Path) -> Agentctl:
    """agentctl, told nothing."""
    return Agentctl(tmp_path)
