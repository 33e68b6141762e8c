"""Fixtures of the acceptance tests: real nodes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.harness.node import Node, node_under_test
from tests.harness.postgres import PostgresDatabases


@pytest.fixture
async def database_url(request: pytest.FixtureRequest) -> AsyncIterator[str | None]:
    """The database of the node: None for its own SQLite file.

    With `TEST_DATABASE=postgresql` every test runs on PostgreSQL that does not choose for itself.
    """
    wanted = getattr(request, "param", None) or os.environ.get("TEST_DATABASE", "sqlite")
    if wanted == "sqlite":
        yield None
        return
    assert wanted == "postgresql", f"TEST_DATABASE is {wanted}, not sqlite or postgresql"
    databases: PostgresDatabases = request.getfixturevalue("postgres")
    async with databases.database() as url:
        yield url


@pytest.fixture
async def node(tmp_path: Path, database_url: str | None) -> AsyncIterator[Node]:
    """A node without packages; the test brings it up."""
    async with node_under_test(tmp_path, database_url=database_url) as node:
        yield node


@pytest.fixture
async def shipped_node(tmp_path: Path, database_url: str | None) -> AsyncIterator[Node]:
    """A node with the packages that are shipped; the test brings it up."""
    async with node_under_test(tmp_path, "echo", "clock", "_template", database_url=database_url) as node:
        yield node
