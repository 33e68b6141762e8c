"""What the answer to a flush means: the server has all that was sent before."""

from __future__ import annotations

import asyncio
import re

from agent_manager.nats_access.client import AccessClient
from tests.harness.external_nats import HOST


class Listener:
    """Speaks just enough of NATS for one connection, and notes the order in which commands come."""

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.left = asyncio.Event()

    async def speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until the client goes."""
        writer.write(b'INFO {"version": "2.10.0", "max_payload": 1048576, "headers": true}\r\n')
        async for line in reader:
            if command := re.match(rb"PUB|UNSUB|SUB|PING", line):
                self.commands.append(command[0].decode())
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
        writer.close()
        self.left.set()


async def test_a_flush_does_not_overtake_what_was_sent_before_it() -> None:
    listener = Listener()
    async with await asyncio.start_server(listener.speak, HOST) as server:
        client = AccessClient(tls_wanted=False)
        await client.connect(f"nats://{HOST}:{server.sockets[0].getsockname()[1]}")
        subscription = await client.subscribe("work")
        await client.publish("work", b"")
        await client.flush()
        await subscription.drain()  # type: ignore[no-untyped-call]
        await client.close()
        await listener.left.wait()
    assert listener.commands == ["PING", "SUB", "PUB", "PING", "UNSUB", "PING"]
