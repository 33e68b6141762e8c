"""agentctl as a program of its own, on an API of the test's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.agentctl_program import Agentctl
from tests.harness.api_fixtures import api, manager, nats
from tests.harness.live_api import LiveApi

__all__ = ["api", "manager", "nats"]


@pytest.fixture
def agentctl(tmp_path: Path, api: LiveApi) -> Agentctl:
    """agentctl, told where the API is."""
    return Agentctl(tmp_path, AGENT_MANAGER_API_URL=api.url)


@pytest.fixture
def lost_agentctl(tmp_path: Path) -> Agentctl:
    """agentctl, told nothing."""
    return Agentctl(tmp_path)
