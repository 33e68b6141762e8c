"""Connections to PostgreSQL: every statement and every wait on them is bounded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from weakref import WeakSet

import asyncpg
from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from agent_manager.adapters.sql.database_url import PostgresAddress


@dataclass(frozen=True, slots=True)
class Connector:
    """Makes connections to one database.

    `timeout_s` bounds the connecting, and each statement where `statement_timeout_s` says nothing else.
    """

    address: PostgresAddress
    timeout_s: float
    statement_timeout_s: float | None = None
    _made: WeakSet[asyncpg.Connection] = field(default_factory=WeakSet, init=False, repr=False, compare=False)

    async def connect(self) -> asyncpg.Connection:
        """A connection. Raises OSError (TimeoutError among them), asyncpg.PostgresError, asyncpg.InterfaceError."""
        statement_timeout_s = self.statement_timeout_s or self.timeout_s
        milliseconds = str(max(1, round(statement_timeout_s * 1000)))
        try:
            connection = await asyncpg.connect(
                self.address.dsn,
                timeout=self.timeout_s,
                command_timeout=statement_timeout_s,
                server_settings={
                    "application_name": "agent-manager",
                    "statement_timeout": milliseconds,
                    # A process that stands still must not keep its locks.
                    "idle_in_transaction_session_timeout": milliseconds,
                },
            )
        except (asyncpg.UndefinedObjectError, asyncpg.InvalidParameterValueError) as error:
            # A parameter of the URL, which the server does not know, or not with that value.
            raise asyncpg.exceptions.ClientConfigurationError(str(error)) from error
        self._made.add(connection)
        return connection

    def terminate(self) -> None:
        """End all connections without a word to the server."""
        for connection in list(self._made):
            connection.terminate()

    def engine(self, **options: Any) -> AsyncEngine:
        """A SQLAlchemy engine on such connections; `options` are those of `create_async_engine`.

        JSON goes in and comes out as its text: `rows` makes and parses it.
        """
        engine = create_async_engine(
            "postgresql+asyncpg://", async_creator=self.connect, json_serializer=str, json_deserializer=str, **options
        )

        @event.listens_for(engine.sync_engine, "checkout")
        def refuse_closed(connection: Any, _record: object, _proxy: object) -> None:
            # asyncpg knows of a lost connection as soon as the kernel does: no need to ask the server every time.
            if connection.driver_connection.is_closed():
                raise DisconnectionError("the server has closed the connection")

        return engine
