"""What happens before an agent is forked: one is played through, so that all that is made at the first time is there.

Whatever Python makes lazily (compiled expressions, caches, specialised code) is then shared by all agents of a zygote.
"""

from __future__ import annotations

import asyncio
import json

from agent_manager.nats_access.environment import NATS_URL
from agent_manager.protocol import environment
from agent_manager.sdk import launch_environment
from agent_manager.sdk.configuration import Configuration
from agent_manager.sdk.connection import Connection
from agent_manager.sdk.definition import Definition
from agent_manager.sdk.ending import Ending, ExitCode
from agent_manager.sdk.instance import Options, Parts
from agent_manager.sdk.lifetime import serve
from agent_manager.sdk.metrics import Metrics

_HOST = "127.0.0.1"
_INFO = {"server_id": "rehearsal", "version": "2.10.0", "headers": True, "max_payload": 1_048_576, "proto": 1}
_LIMIT_S = 5.0


def before_fork() -> None:
    """Start an agent, have it stop, and forget it. Raises OSError and TimeoutError where that cannot be done."""
    asyncio.run(_play())


async def _play() -> None:
    async with asyncio.timeout(_LIMIT_S):
        server = await asyncio.start_server(_converse, _HOST, 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            await _live({environment.AGENT_ID: "rehearsal", NATS_URL: f"nats://{_HOST}:{port}"})


async def _live(variables: dict[str, str]) -> None:
    ending = Ending()

    async def started() -> None:
        ending.give(ExitCode.CLEAN)

    definition = Definition()
    definition.set_hook("on_start", started)
    settings = launch_environment.read(variables)
    parts = Parts(
        definition=definition,
        options=Options(max_concurrent_commands=1, stop_grace_s=0.0, metrics_interval_s=1.0),
        settings=settings,
        metrics=Metrics(),
        configuration=Configuration(settings.config, definition.on_config),
    )
    async with Connection(settings, ending) as connection:
        await connection.open()
        await serve(parts, connection, ending)


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """As little of a NATS server as a client needs that nobody answers."""
    writer.write(f"INFO {json.dumps(_INFO)}\r\n".encode())
    while line := await reader.readline():
        match line.split():
            case [b"PING"]:
                writer.write(b"PONG\r\n")
            case [b"PUB" | b"HPUB", *_, size]:
                await reader.readexactly(int(size) + len(b"\r\n"))
    writer.close()
