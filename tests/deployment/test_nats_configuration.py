"""The NATS server of the Compose file, as a real server reads its configuration."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError

from agent_manager.adapters.nats.embedded import free_port
from agent_manager.protocol.permissions import OF_API
from tests.harness.deployment import DEPLOY, installed
from tests.harness.waiting import eventually

CONFIGURATION = DEPLOY / "nats" / "nats-server.conf"
PASSWORDS = {f"NATS_{user}_PASSWORD": f"p{user.lower()}" for user in ("MANAGER", "API", "SYSTEM")}


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    """A server with this configuration on free ports."""
    configuration = tmp_path / "nats-server.conf"
    text = CONFIGURATION.read_text(encoding="utf-8")
    port = free_port("127.0.0.1")
    for line, replacement in (
        ("port: 4222", f"host: 127.0.0.1\nport: {port}"),
        ("http: 8222", ""),
        ("store_dir: /data", f'store_dir: "{tmp_path}"'),
    ):
        assert line in text
        text = text.replace(line, replacement)
    configuration.write_text(text, encoding="utf-8")
    server = shutil.which("nats-server") or str(installed("nats-server"))
    process = await asyncio.create_subprocess_exec(
        server, "--config", str(configuration), env={**os.environ, **PASSWORDS}, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield f"nats://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


@contextlib.asynccontextmanager
async def connected(url: str, user: str) -> AsyncIterator[tuple[Client, list[Exception]]]:
    """A connection of a user, and what the server complains of."""
    errors: list[Exception] = []

    async def note(error: Exception) -> None:
        errors.append(error)

    async def there() -> Client | None:
        with contextlib.suppress(OSError, NatsError):
            return await nats.connect(
                url, user=user, password=f"p{user}", error_cb=note, allow_reconnect=False, inbox_prefix=b"_INBOX_api"
            )
        return None

    client: Client = await eventually(there)
    errors.clear()  # the server may have taken a moment to listen
    try:
        yield client, errors
    finally:
        await client.close()


async def test_the_manager_has_jetstream_that_syncs(url: str) -> None:
    async with connected(url, "manager") as (client, _):
        stream = await client.jetstream().add_stream(name="S", subjects=["s"])
        assert stream.config.name == "S"
        assert (await client.jetstream().publish("s", b"x")).seq == 1
        assert client.max_payload == 8 * 1024 * 1024
    assert "sync_interval: always" in CONFIGURATION.read_text(encoding="utf-8")


async def test_the_api_may_do_what_the_api_may_do_and_no_more(url: str) -> None:
    async with connected(url, "api") as (client, errors), connected(url, "manager") as (manager, _):
        subscription = await manager.subscribe("agent.manager.api.agents.list")
        await manager.flush()
        for subject in OF_API.publish:
            await client.publish(subject.replace(">", "agents.list"), b"")
        for subject in OF_API.subscribe:
            await client.subscribe(subject)
        await client.flush()
        assert (await subscription.next_msg()).subject == "agent.manager.api.agents.list"
        assert errors == []
        await client.publish("agent.manager.command", b"")
        await client.subscribe("agent.status")
        await eventually(lambda: len(errors) == 2)
        assert all("permissions violation" in str(error).lower() for error in errors)
