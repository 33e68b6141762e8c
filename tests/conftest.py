"""What tests of every kind may ask for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness.postgres import PostgresDatabases, some_databases


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresDatabases]:
    """Databases on a PostgreSQL that is started once, by the first test that asks."""
    with some_databases() as databases:
        yield databases
