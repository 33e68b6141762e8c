"""What tests of every kind may ask for."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.harness.postgres import PostgresDatabases, some_databases


def pytest_configure() -> None:
    """A shell starts what goes on in the background (`make test &`) with Ctrl-C ignored, which programs under test
    would inherit, and keep to."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresDatabases]:
    """Databases on a PostgreSQL that is started once, by the first test that asks."""
    with some_databases() as databases:
        yield databases
