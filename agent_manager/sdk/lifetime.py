"""The life of the process: signals, connection, instance, and the code to exit with."""

from __future__ import annotations

import asyncio

from agent_manager.sdk.connection import Connection
from agent_manager.sdk.ending import Ending, ExitCode, ended_by_signals
from agent_manager.sdk.instance import Instance, Parts


class _OverError(Exception):
    """Raised to cancel whatever an instance leaves unfinished: a health check or a hook that hangs, its loops."""


async def live(parts: Parts) -> ExitCode:
    """Run an instance until a signal, a failure of its own code or the bus ends it."""
    ending = Ending()
    with ended_by_signals(ending):
        async with Connection(parts.settings, ending) as connection:
            if await ending.unless(connection.open()):
                await serve(parts, connection, ending)
    return ending.exit_code


async def serve(parts: Parts, connection: Connection, ending: Ending) -> None:
    """Run an instance over an open connection until its end is reached."""
    try:
        async with asyncio.TaskGroup() as tasks:
            await Instance(parts, connection, ending, tasks).live()
            raise _OverError
    except* _OverError:
        pass
