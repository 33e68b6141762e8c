"""What is installed once for all tests of a run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.harness.machine import install
from tests.harness.nats_server import NatsHarness, running_nats


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """/opt/agent-manager, made by the steps of the Dockerfile."""
    return install(tmp_path_factory.mktemp("installation"))


@pytest.fixture
async def nats_server(tmp_path: Path) -> AsyncIterator[NatsHarness]:
    """A NATS server that knows nothing of the node but its credentials."""
    (tmp_path / "nats").mkdir()
    async with running_nats(tmp_path / "nats") as server:
        yield server
