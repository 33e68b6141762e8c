"""Something that begins as a NATS server does and is none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.harness.external_nats import HOST

ODD_INFO = [b"[]", b"3", b"null", b'{"connect_urls": 3}', b'{"connect_urls": ["["]}', b'{"x": "' + b"x" * 100_000]
"""What follows the word INFO: no object, or one that makes no sense, or has no end."""


@asynccontextmanager
async def odd_server(info: bytes, port: int = 0) -> AsyncIterator[int]:
    """Its port."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"INFO " + info + b"\r\n")
            await reader.read()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(speak, HOST, port) as listener:
        yield listener.sockets[0].getsockname()[1]
