"""Names held alone in the cluster: session advisory locks of PostgreSQL.

A holding lives as long as its session (https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS).
Each has a connection of its own, which is asked for a sign of life every second.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import asyncpg

from agent_manager.adapters.sql import postgres_failures
from agent_manager.adapters.sql.postgres_connections import Connector
from agent_manager.domain.errors import UnavailableError

PULSE_S = 1.0
"""Pause between two attempts to take the lock, and between two signs of life once it is taken."""
SILENCE_S = 15
"""After so long without a sign of life the server ends the session, so that a holder that stands still blocks nobody.
Well above what a holder itself waits before it gives up."""
CLOSE_S = 2.0


@asynccontextmanager
async def held(connector: Connector, name: str) -> AsyncIterator[None]:
    """Hold `name` for the time of the block, as `ports.store.Store.hold` says."""
    database = connector.address.name
    with postgres_failures.told(database):
        connection = await connector.connect()
    try:
        with postgres_failures.told(database):
            await _take(connection, _key(name))
        async with _while_alive(connection, f"{name} is held no longer: the connection to {database} was lost"):
            yield
    finally:
        await _close(connection)


def _key(name: str) -> int:
    """The number that stands for a name. Advisory locks know numbers only, 64 bits, signed, one space per database."""
    digest = hashlib.blake2b(f"agent-manager {name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


async def _take(connection: asyncpg.Connection, key: int) -> None:
    await connection.execute(f"SET idle_session_timeout = '{SILENCE_S}s'")
    # Waiting in the database would leave a lost connection unnoticed, and is a statement that ends with its timeout.
    while True:
        if await connection.fetchval("SELECT pg_try_advisory_lock($1)", key):
            return
        await asyncio.sleep(PULSE_S)


@asynccontextmanager
async def _while_alive(connection: asyncpg.Connection, message: str) -> AsyncIterator[None]:
    """Cancel the block when the connection is lost, and raise UnavailableError from it."""
    lost = asyncio.timeout(None)
    pulse = asyncio.create_task(_pulse(connection), name="pulse of a held name")

    def end(_: object) -> None:
        lost.reschedule(0.0)

    try:
        async with lost:
            pulse.add_done_callback(end)
            try:
                yield
            finally:
                pulse.remove_done_callback(end)
                pulse.cancel()
                await asyncio.wait([pulse])
    except TimeoutError as error:
        if not lost.expired():
            raise
        raise UnavailableError(message) from error


async def _pulse(connection: asyncpg.Connection) -> None:
    """Return when the connection no longer answers."""
    closed = asyncio.Event()
    connection.add_termination_listener(lambda _: closed.set())
    with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        while not closed.is_set():
            await connection.execute("SELECT 1")
            with suppress(TimeoutError):
                async with asyncio.timeout(PULSE_S):
                    await closed.wait()


async def _close(connection: asyncpg.Connection) -> None:
    try:
        await connection.close(timeout=CLOSE_S)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        connection.terminate()
