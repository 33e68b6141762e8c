"""What anybody may publish and no program can read: the connection it comes over goes on as before."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agent_manager.nats_access.access import Access
from tests.harness.external_nats import HOST, ExternalNats, external_nats
from tests.harness.waiting import eventually
from tests.integration.nats_access.kept import kept

LOST = {
    "a subject that is no text": b"PUB heard.\xff 2\r\n{}\r\n",
    "a reply subject that is no text": b"PUB heard.x _INBOX.\xff 2\r\n{}\r\n",
}
TAKEN = {
    "a vertical tab in the reply subject": b"PUB heard.x _INBOX.a\x0bb 2\r\n{}\r\n",
    "a form feed in the subject": b"PUB heard.a\x0cb 2\r\n{}\r\n",
    "a carriage return in the reply subject": b"PUB heard.x _INBOX.a\rb 2\r\n{}\r\n",
    "numbers behind a vertical tab": b"PUB heard.x _INBOX.a\x0b9999999 2\r\n{}\r\n",
    "a reply subject as long as a line may be": b"PUB heard.x _INBOX." + b"x" * 4000 + b" 2\r\n{}\r\n",
    "a reply subject with wildcards": b"PUB heard.x _INBOX.*.> 2\r\n{}\r\n",
    "headers that end with their version": b"HPUB heard.x 8 10\r\nNATS/1.0{}\r\n",
    "headers shorter than their version": b"HPUB heard.x 3 5\r\nNAT{}\r\n",
    "headers of another protocol": b"HPUB heard.x 18 20\r\nHTTP/1.1\r\na: b\r\n\r\n{}\r\n",
    "a status that is no text": b"HPUB heard.x 16 18\r\nNATS/1.0 \xff\xff\xff\r\n\r\n{}\r\n",
    "a description that is no text": b"HPUB heard.x 19 21\r\nNATS/1.0 503 \xff\xff\r\n\r\n{}\r\n",
    "a status of JetStream": b"HPUB heard.x 16 18\r\nNATS/1.0 100\r\n\r\n{}\r\n",
    "names and values that are no text": b"HPUB heard.x 24 26\r\nNATS/1.0\r\n\xff: 1\r\na: \xff\r\n\r\n{}\r\n",
}


async def published(server: ExternalNats, wire: bytes) -> None:
    """Until the server has taken what no client of ours would send."""
    reader, writer = await asyncio.open_connection(HOST, server.port)
    try:
        writer.write(b'CONNECT {"verbose": false, "headers": true}\r\n' + wire + b"PING\r\n")
        while (line := await reader.readline()) != b"PONG\r\n":
            assert line.startswith(b"INFO"), line
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("wire", [*LOST.values(), *TAKEN.values()], ids=[*LOST, *TAKEN])
async def test_a_connection_outlives_what_nobody_can_read(tmp_path: Path, wire: bytes) -> None:
    async with external_nats(tmp_path, {}) as server, kept(Access(servers=(server.url,))) as link:
        await eventually(lambda: link.told == ["up"])
        await published(server, wire)
        await published(server, b"PUB heard.after 5\r\nafter\r\n")
        await eventually(lambda: b"after" in link.heard)
        assert link.heard == ([b"after"] if wire in LOST.values() else [b"{}", b"after"])
        assert link.told == ["up"]


async def test_what_was_thrown_away_is_said_once(tmp_path: Path) -> None:
    async with external_nats(tmp_path, {}) as server, kept(Access(servers=(server.url,))) as link:
        await eventually(lambda: link.told == ["up"])
        for wire in LOST.values():
            await published(server, wire)
        await eventually(lambda: len(link.troubles) == len(LOST))
        assert [notice.text for notice in link.notices if notice.event == "bus_error"] == [
            "a message was thrown away: its subject or reply subject is not UTF-8"
        ]
