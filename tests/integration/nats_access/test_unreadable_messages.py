"""What anybody may publish and no program can read: the connection it comes over goes on as before."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agent_manager.nats_access.access import Access
from tests.harness import hostile
from tests.harness.external_nats import HOST, ExternalNats, external_nats
from tests.harness.waiting import eventually
from tests.integration.nats_access.kept import kept

LOST, TAKEN = hostile.unreadable("heard.x"), hostile.barely_readable("heard.x")


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
