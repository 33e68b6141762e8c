"""Every implementation of every port; a suite runs over all implementations of its port."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent_manager.adapters.sql.migration import migrate
from agent_manager.adapters.sql.sqlite import SqliteStore
from agent_manager.ports.store import Store


@asynccontextmanager
async def sqlite_file(tmp_path: Path) -> AsyncIterator[Store]:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    migrate(url)
    async with SqliteStore(url) as store:
        yield store


@asynccontextmanager
async def sqlite_memory(tmp_path: Path) -> AsyncIterator[Store]:
    async with SqliteStore("sqlite://") as store:
        yield store


@pytest.fixture(params=[sqlite_file, sqlite_memory], ids=lambda opened: opened.__name__)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with request.param(tmp_path) as opened:
        yield opened
