"""URLs of databases: which are taken, and that none of them is ever repeated with its password."""

from __future__ import annotations

import pytest

from agent_manager.adapters.sql.database_url import postgres_address
from agent_manager.adapters.sql.opening import store_at
from agent_manager.adapters.sql.postgres import PostgresStore
from agent_manager.adapters.sql.sqlite import SqliteStore
from agent_manager.domain.errors import InvalidRequestError

PLAIN = "postgresql://ada:s3cret@db.example:6432/agents"


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg"])
def test_every_form_of_a_postgresql_url_means_the_same(scheme: str) -> None:
    address = postgres_address(f"{scheme}://ada:s3cret@db.example:6432/agents")
    assert address is not None
    assert (address.dsn, address.name) == (PLAIN, "db.example:6432/agents")
    assert isinstance(store_at(f"{scheme}://ada:s3cret@db.example:6432/agents"), PostgresStore)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///relative.db", "sqlite:////data/store.db"])
def test_sqlite_is_sqlite(url: str) -> None:
    assert postgres_address(url) is None
    assert isinstance(store_at(url), SqliteStore)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql://db", "db:5432/(named as its user)"),
        ("postgresql://ada:p%40ss@db/agents?sslmode=require", "db:5432/agents"),
        ("postgresql:///agents?host=/var/run/postgresql", "/var/run/postgresql/agents"),
        ("postgresql://ada:s3cret@one:5432,two:5433/agents", "one:5432,two:5433/agents"),
        ("postgresql://ada:s3cret@[::1]/agents", "[::1]:5432/agents"),
        ("postgresql://db/?dbname=agents&port=7000", "db:7000/agents"),
    ],
)
def test_a_database_is_named_by_host_and_database(url: str, name: str) -> None:
    address = postgres_address(url)
    assert address is not None
    assert address.name == name


def test_what_tunes_another_driver_is_left_out() -> None:
    address = postgres_address("postgresql://db/agents?connect_timeout=5&channel_binding=prefer&search_path=mine")
    assert address is not None
    assert address.dsn == "postgresql://db/agents?search_path=mine"
    with pytest.raises(InvalidRequestError, match="without channel_binding=require, which cannot be met"):
        postgres_address("postgresql://db/agents?channel_binding=require")


def test_the_option_ssl_is_taken_for_what_libpq_calls_it() -> None:
    address = postgres_address("postgresql+asyncpg://db/agents?ssl=require")
    assert address is not None
    assert address.dsn == "postgresql://db/agents?sslmode=require"


@pytest.mark.parametrize(
    "url",
    [
        "mysql://ada:s3cret@db/agents",
        "postgresql+psycopg://ada:s3cret@db/agents",
        "s3cret",
        "",
        "postgresql://ada:s3cret@db:port/agents",
        "postgresql://ada:s3cret@[::1/agents",
        "postgresql://ada:s3cret#@db/agents",
    ],
)
def test_anything_else_is_refused_with_what_is_allowed_and_without_the_password(url: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"postgresql://.*sqlite:///") as refused:
        store_at(url)
    assert "s3cret" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_an_address_does_not_show_its_password() -> None:
    assert "s3cret" not in repr(postgres_address(PLAIN))
