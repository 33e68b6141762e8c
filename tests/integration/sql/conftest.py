"""Databases, migrated."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent_manager.adapters.sql.migration import migrate
from tests.harness.postgres import PostgresDatabases


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def url(database: Path) -> str:
    url = f"sqlite:///{database}"
    migrate(url)
    return url


@pytest.fixture
async def postgres_url(postgres: PostgresDatabases) -> AsyncIterator[str]:
    async with postgres.database() as url:
        yield url


@pytest.fixture
async def empty_postgres_url(postgres: PostgresDatabases) -> AsyncIterator[str]:
    async with postgres.database(migrated=False) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def any_url(request: pytest.FixtureRequest) -> str:
    """A migrated database of either kind."""
    url: str = request.getfixturevalue("url" if request.param == "sqlite" else "postgres_url")
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest) -> str:
    """A database of either kind that was never migrated."""
    if request.param == "sqlite":
        return f"sqlite:///{request.getfixturevalue('database')}"
    url: str = request.getfixturevalue("empty_postgres_url")
    return url
