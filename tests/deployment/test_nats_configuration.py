"""The NATS server of the Compose file, as a real server reads its configuration."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import httpx
import nats
import pytest
import yaml
from nats.aio.client import Client
from nats.errors import Error as NatsError

from agent_manager.adapters.nats.embedded import free_port
from agent_manager.protocol.permissions import OF_API
from tests.harness.deployment import DEPLOY, REPOSITORY, installed
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


def test_the_api_may_do_what_the_api_may_do() -> None:
    text = CONFIGURATION.read_text(encoding="utf-8").split("user: api\n")[1]
    for key, allowed in (("publish", OF_API.publish), ("subscribe", OF_API.subscribe)):
        [given] = re.findall(rf"{key}: (\[.*\])", text)
        assert set(json.loads(given)) == set(allowed)


async def test_the_server_lets_the_api_do_no_more(url: str) -> None:
    async with connected(url, "api") as (client, errors):
        await client.publish("agent.manager.command", b"")
        await client.subscribe("agent.status")
        await eventually(lambda: len(errors) == 2)
        assert all("permissions violation" in str(error).lower() for error in errors)


async def test_node_and_api_find_each_other_with_the_settings_of_the_compose_file(url: str, tmp_path: Path) -> None:
    port = free_port("127.0.0.1")
    changes = {
        "AGENT_MANAGER_NATS_URL": url,
        "AGENT_MANAGER_DATA_DIR": str(tmp_path / "data"),
        "AGENT_MANAGER_PACKAGES_DIR": str(REPOSITORY / "agent_packages"),
        "AGENT_MANAGER_DATABASE_URL": f"sqlite:///{tmp_path / 'agents.db'}",
        "AGENT_MANAGER_METRICS_PORT": str(free_port("127.0.0.1")),
    }
    changes_of_api = {"MANAGEMENT_API_NATS_URL": url, "MANAGEMENT_API_SERVICE_PORT": str(port)}
    node = await _program("agent_manager.cli", "run", env=_environment("node") | changes)
    api = await _program("management_api", env=_environment("api") | changes_of_api)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30.0) as http:

            async def agents() -> list[str]:
                with contextlib.suppress(httpx.HTTPError, KeyError):
                    answer = await http.get("/api/v1/agents")
                    return [agent["id"] for agent in answer.json()["items"] if agent["availability"] == "active"]
                return []

            await eventually(lambda: _names(agents()), 60.0)
    finally:
        for process in (api, node):
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            assert await process.wait() == 0


async def _names(found: Awaitable[list[str]]) -> bool:
    return set(await found) >= {"clock", "echo"}


def _environment(service: str) -> dict[str, str]:
    """What the Compose file gives to a service, with the passwords of this test."""
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    given: dict[str, str] = compose["services"][service]["environment"]

    def password(found: re.Match[str]) -> str:
        return PASSWORDS.get(found.group(1), "")

    return {name: re.sub(r"\$\{(\w+):[^}]*\}", password, str(value)) for name, value in given.items()}


async def _program(module: str, *arguments: str, env: dict[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", module, *arguments),
        env={"PATH": os.environ["PATH"], **env},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
