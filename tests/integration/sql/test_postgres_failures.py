"""What goes wrong with PostgreSQL, and that it is told in bounded time, by name, without a password."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from signal import SIGQUIT

import asyncpg
import pytest

from agent_manager.adapters.sql.database_url import postgres_address
from agent_manager.adapters.sql.migration import migrate
from agent_manager.adapters.sql.postgres import PostgresStore
from agent_manager.domain.errors import UnavailableError
from agent_manager.ports.store import Transaction
from tests.contract.store_values import event
from tests.harness.postgres import PASSWORD, PostgresServer, own_server
from tests.harness.waiting import eventually

FILL = """
CREATE FUNCTION fill() RETURNS trigger AS $$
BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END
$$ LANGUAGE plpgsql;
CREATE TRIGGER fill BEFORE INSERT ON events EXECUTE FUNCTION fill();
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server that may be stopped and hung; every test leaves it running."""
    with own_server(max_connections=20) as server:
        migrate(server.url())
        yield server


def store_on(url: str, *, timeout_s: float = 5.0, pool_size: int = 2, max_overflow: int = 2) -> PostgresStore:
    address = postgres_address(url)
    assert address is not None
    return PostgresStore(address, timeout_s=timeout_s, pool_size=pool_size, max_overflow=max_overflow)


@asynccontextmanager
async def administrator(server: PostgresServer) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(server.url())
    try:
        yield connection
    finally:
        await connection.close()


def _append(t: Transaction) -> object:
    return t.append_event(event())


async def _refusal(store: PostgresStore) -> str:
    with pytest.raises(UnavailableError) as refused:
        await store.write(_append)
    assert PASSWORD not in str(refused.value) + repr(refused.value.detail)
    assert refused.value.retryable
    return refused.value.message


async def _works(store: PostgresStore) -> bool:
    try:
        await store.write(_append)
    except UnavailableError:
        return False
    return True


@pytest.mark.parametrize(
    ("database", "user", "password", "words"),
    [
        ("postgres", "tester", "wrong", "password authentication failed.*check user and password"),
        ("postgres", "nobody-known", PASSWORD, "password authentication failed.*check user and password"),
        ("missing", "tester", PASSWORD, '"missing" does not exist; create the database'),
        ("postgres?schema=x", "tester", PASSWORD, 'parameter "schema"; correct the database URL'),
        ("postgres?DateStyle=x", "tester", PASSWORD, 'parameter "DateStyle".*; correct the database URL'),
        ("postgres?sslmode=require", "tester", PASSWORD, "rejected SSL upgrade; it offers no TLS"),
    ],
)
async def test_what_is_wrong_in_the_url_is_told(
    server: PostgresServer, database: str, user: str, password: str, words: str
) -> None:
    store = store_on(server.url(database, user=user, password=password))
    with pytest.raises(
        UnavailableError, match=rf"127.0.0.1:{server.port}/{database.partition('?')[0]} .*{words}"
    ) as refused:
        await store.open()
    assert password not in str(refused.value)


async def test_a_server_that_is_not_there_is_told(server: PostgresServer) -> None:
    server.stop()
    try:
        with pytest.raises(UnavailableError, match=rf"127.0.0.1:{server.port}/postgres .*check that the server runs"):
            await store_on(server.url()).open()
    finally:
        server.start()


async def test_too_many_connections_are_told(server: PostgresServer) -> None:
    others = [await asyncpg.connect(server.url()) for _ in range(17)]
    more: list[asyncpg.Connection] = []
    try:
        with suppress(asyncpg.TooManyConnectionsError):
            while True:
                more.append(await asyncpg.connect(server.url()))
        with pytest.raises(UnavailableError, match="too many clients already; raise max_connections"):
            await store_on(server.url()).open()
    finally:
        for other in (*others, *more):
            await other.close()


async def test_a_disk_that_is_full_refuses_writes_until_there_is_space(server: PostgresServer) -> None:
    async with store_on(server.url()) as store, administrator(server) as admin:
        await admin.execute(FILL)
        try:
            assert "No space left on device; free space on the server's volume" in await _refusal(store)
            await store.read(lambda t: t.events(0, 1))
        finally:
            await admin.execute("DROP FUNCTION fill CASCADE")
        await store.write(_append)


async def test_a_database_that_takes_no_writes_is_told(server: PostgresServer) -> None:
    async with administrator(server) as admin:
        await admin.execute("ALTER DATABASE postgres SET default_transaction_read_only = on")
        try:
            async with store_on(server.url()) as store:
                assert "is it a standby?" in await _refusal(store)
                await store.read(lambda t: t.events(0, 1))
        finally:
            await admin.execute("SET default_transaction_read_only = off")
            await admin.execute("ALTER DATABASE postgres RESET default_transaction_read_only")


async def test_a_lock_that_somebody_holds_is_told_in_bounded_time_and_outlived(server: PostgresServer) -> None:
    async with store_on(server.url(), timeout_s=0.3) as store, administrator(server) as admin:
        async with admin.transaction():
            await admin.execute("LOCK TABLE events")
            refusal = await _refusal(store)
            assert "pg_stat_activity" in refusal or "within 0.3 s" in refusal
        await eventually(lambda: _works(store))


async def test_more_units_than_connections_wait_their_turn(server: PostgresServer) -> None:
    async with store_on(server.url(), pool_size=1, max_overflow=1, timeout_s=30.0) as store:
        await asyncio.gather(*(store.write(_append) for _ in range(50)))


async def test_connections_that_an_administrator_ends_are_replaced(server: PostgresServer) -> None:
    async with store_on(server.url()) as store, administrator(server) as admin:
        await asyncio.gather(*(store.write(_append) for _ in range(4)))
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'agent-manager'"
        )
        await eventually(lambda: _works(store))


async def test_a_server_that_dies_and_comes_back_is_used_again(server: PostgresServer) -> None:
    async with store_on(server.url()) as store:
        await asyncio.gather(*(store.write(_append) for _ in range(4)))
        server.stop(SIGQUIT)
        try:
            assert f"127.0.0.1:{server.port}/postgres cannot be used" in await _refusal(store)
        finally:
            server.start()
        assert await _works(store)


async def test_a_server_that_stands_still_is_given_up_on_and_used_again(server: PostgresServer) -> None:
    async with store_on(server.url(), timeout_s=0.3) as store:
        await asyncio.gather(*(store.write(_append) for _ in range(4)))
        server.hang()
        try:
            refusals = await asyncio.gather(*(_refusal(store) for _ in range(8)))
        finally:
            server.go_on()
        assert all("within 0.3 s" in refusal or "not answer in time" in refusal for refusal in refusals)
        await eventually(lambda: _works(store))


async def test_a_store_can_be_closed_while_its_server_stands_still(server: PostgresServer) -> None:
    store = store_on(server.url(), timeout_s=0.3)
    await store.open()
    await asyncio.gather(*(store.write(_append) for _ in range(3)))
    server.hang()
    try:
        await _refusal(store)
        await asyncio.wait_for(store.close(), 30)
    finally:
        server.go_on()


async def test_a_store_that_was_refused_opens_when_the_server_is_back(server: PostgresServer) -> None:
    store = store_on(server.url())
    server.stop()
    try:
        with pytest.raises(UnavailableError):
            await store.open()
    finally:
        server.start()
    await store.open()
    assert await _works(store)
    await store.close()


async def test_what_the_program_does_wrong_is_not_blamed_on_the_database(server: PostgresServer) -> None:
    async with store_on(server.url()) as store:

        def wrong(t: Transaction) -> None:
            t.append_event("no event")  # type: ignore[arg-type]

        with pytest.raises(TypeError):
            await store.write(wrong)


# ---------------------------------------------------------------- names held alone


@asynccontextmanager
async def _holding_for_ever(store: PostgresStore) -> AsyncIterator[asyncio.Task[None]]:
    """A task that holds `publisher` until it is lost."""
    begun = asyncio.Event()

    async def hold() -> None:
        async with store.hold("publisher"):
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hold())
    await asyncio.wait_for(begun.wait(), 20)
    yield task
    task.cancel()


async def test_a_holding_ends_when_its_connection_does(server: PostgresServer) -> None:
    async with store_on(server.url()) as store, administrator(server) as admin:
        async with _holding_for_ever(store) as holding:
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
            )
            with pytest.raises(UnavailableError, match=r"publisher is held no longer: .*127.0.0.1"):
                await asyncio.wait_for(holding, 60)
        async with asyncio.timeout(20), store.hold("publisher"):
            pass


async def test_a_holding_ends_when_the_server_stands_still(server: PostgresServer) -> None:
    async with store_on(server.url(), timeout_s=0.3) as store, _holding_for_ever(store) as holding:
        server.hang()
        try:
            with pytest.raises(UnavailableError, match="publisher is held no longer"):
                await asyncio.wait_for(holding, 60)
        finally:
            server.go_on()


async def test_a_name_cannot_be_held_while_the_database_is_away(server: PostgresServer) -> None:
    async with store_on(server.url()) as store:
        server.stop()
        try:
            with pytest.raises(UnavailableError, match="cannot be used"):
                async with store.hold("publisher"):
                    pass
        finally:
            server.start()
