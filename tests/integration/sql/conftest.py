"""A database file, migrated."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent_manager.adapters.sql.migration import migrate


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def url(database: Path) -> str:
    url = f"sqlite:///{database}"
    migrate(url)
    return url
