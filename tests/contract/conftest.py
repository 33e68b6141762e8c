"""Every implementation of every port; a suite runs over all implementations of its port."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent_manager.adapters.sql.database_url import postgres_address
from agent_manager.adapters.sql.migration import migrate
from agent_manager.adapters.sql.opening import store_at
from agent_manager.adapters.sql.postgres import PostgresStore
from agent_manager.ports.store import ManagedStore, Store
from tests.harness.postgres import PostgresDatabases


@asynccontextmanager
async def url_of(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    if kind == "postgresql":
        databases: PostgresDatabases = request.getfixturevalue("postgres")
        async with databases.database() as url:
            yield url
    elif kind == "sqlite_file":
        url = f"sqlite:///{tmp_path / 'store.db'}"
        migrate(url)
        yield url
    else:
        yield "sqlite://"


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[ManagedStore]:
    address = postgres_address(url)
    # Whether a unit is done in time on a busy machine is not what is tested here.
    store = store_at(url) if address is None else PostgresStore(address, timeout_s=60.0)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture(params=["sqlite_file", "sqlite_memory", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with url_of(request.param, request, tmp_path) as url, opened(url) as store:
        yield store
