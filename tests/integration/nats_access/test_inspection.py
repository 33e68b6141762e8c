"""What is found out about a server, an account and a user."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client

from agent_manager.adapters.nats.bus_check import needs_of_manager
from agent_manager.nats_access.inspection import Finding, Needs, Weight, inspect_bus
from agent_manager.protocol import subjects
from tests.harness.external_nats import external_nats
from tests.harness.nats_server import running_nats

NOTHING = Needs(payload_wanted=0, known_durable=True)
MANAGER_USER = {
    "user": "manager",
    "password": "pw",
    "permissions": {
        "publish": ["agent.>", "task.>", "$JS.API.>", "$SYS.REQ.USER.INFO", "_INBOX_manager.pulse"],
        "subscribe": ["agent.>", "task.>", "$SRV.>", "_INBOX_manager.>"],
        "allow_responses": {"max": 64, "expires": "1h"},
    },
}


def with_jetstream(folder: Path, **more: Any) -> dict[str, Any]:
    return {"jetstream": {"store_dir": str(folder / "js")}, **more}


async def ignore(_: Exception) -> None:
    """Denied subjects are what these tests are about."""


@asynccontextmanager
async def connected(folder: Path, configuration: dict[str, Any], **options: Any) -> AsyncIterator[Client]:
    async with external_nats(folder, configuration) as server:
        client = await nats.connect(server.url, error_cb=ignore, **options)
        try:
            yield client
        finally:
            await client.close()


async def only(client: Client, needs: Needs, timeout_s: float = 5.0) -> Finding:
    [found] = await inspect_bus(client, needs, timeout_s=timeout_s)
    return found


async def test_the_embedded_server_has_everything_a_manager_needs(tmp_path: Path) -> None:
    async with running_nats(tmp_path) as server:
        assert await inspect_bus(await server.connect_as_manager(), needs_of_manager(embedded=True)) == ()


async def test_a_bare_external_server_leaves_two_things_to_be_desired(tmp_path: Path) -> None:
    async with connected(tmp_path, with_jetstream(tmp_path)) as client:
        payload, durability = await inspect_bus(client, needs_of_manager(embedded=False))
        assert (payload.code, payload.weight) == ("payload_small", Weight.WARNING)
        assert "1,048,576 bytes, 8,388,608 are wanted" in payload.text
        assert (durability.code, durability.weight) == ("durability_unknown", Weight.NOTE)
        assert "sync_interval: always" in durability.text


@pytest.mark.parametrize(
    ("needs", "code"),
    [
        (Needs(server=(99, 0, 0), payload_wanted=0, known_durable=True), "server_too_old"),
        (Needs(api_level=99, payload_wanted=0, known_durable=True), "jetstream_too_old"),
        (Needs(payload_wanted=2**30, payload_least=2**30, known_durable=True), "payload_small"),
    ],
)
async def test_what_is_too_old_or_too_small_is_an_error_with_both_figures(
    tmp_path: Path, needs: Needs, code: str
) -> None:
    async with connected(tmp_path, with_jetstream(tmp_path)) as client:
        found = await only(client, needs)
        assert (found.code, found.weight) == (code, Weight.ERROR)


async def test_a_server_without_jetstream(tmp_path: Path) -> None:
    async with connected(tmp_path, {}) as client:
        assert (await only(client, NOTHING)).code == "jetstream_off"


async def test_an_account_without_jetstream(tmp_path: Path) -> None:
    accounts = {"A": {"jetstream": "disabled", "users": [{"user": "u", "password": "p"}]}}
    configuration = with_jetstream(tmp_path, accounts=accounts)
    async with connected(tmp_path, configuration, user="u", password="p") as client:
        assert (await only(client, NOTHING)).code == "jetstream_off"


async def test_an_account_without_room_for_jetstream(tmp_path: Path) -> None:
    limits = {"max_memory": 1_000_000, "max_file": 0}
    accounts = {"A": {"jetstream": limits, "users": [{"user": "u", "password": "p"}]}}
    configuration = with_jetstream(tmp_path, accounts=accounts)
    async with connected(tmp_path, configuration, user="u", password="p") as client:
        assert (await only(client, NOTHING)).code == "jetstream_no_storage"


async def test_a_user_who_may_not_ask_jetstream(tmp_path: Path) -> None:
    user = {"user": "u", "password": "p", "permissions": {"publish": {"deny": ["$JS.>"]}}}
    configuration = with_jetstream(tmp_path, authorization={"users": [user]})
    async with connected(tmp_path, configuration, user="u", password="p") as client:
        assert (await only(client, NOTHING, timeout_s=0.5)).code == "jetstream_silent"


async def test_the_permissions_that_are_documented_are_enough(tmp_path: Path) -> None:
    configuration = with_jetstream(tmp_path, max_payload=8 * 1024 * 1024, authorization={"users": [MANAGER_USER]})
    options = {"user": "manager", "password": "pw", "inbox_prefix": "_INBOX_manager"}
    async with connected(tmp_path, configuration, **options) as client:
        assert (await only(client, needs_of_manager(embedded=False))).code == "durability_unknown"
        with pytest.raises(nats.errors.NoRespondersError):
            await client.request(subjects.MANAGER_PULSE, timeout=20.0)


@pytest.mark.parametrize(
    ("permissions", "missing"),
    [
        (
            {"publish": ["agent.>", "$SYS.REQ.USER.INFO", "$JS.API.>"], "subscribe": ["agent.*", "_INBOX.>"]},
            (
                "publish task.>",
                "publish _INBOX_manager.pulse",
                "subscribe agent.>",
                "subscribe task.>",
                "subscribe $SRV.>",
                "allow_responses",
            ),
        ),
        ({"publish": {"deny": ["agent.>"]}}, ("publish agent.>",)),
    ],
)
async def test_permissions_that_are_missing_are_listed(
    tmp_path: Path, permissions: dict[str, Any], missing: tuple[str, ...]
) -> None:
    user = {"user": "u", "password": "p", "permissions": permissions}
    configuration = with_jetstream(tmp_path, max_payload=8 * 1024 * 1024, authorization={"users": [user]})
    async with connected(tmp_path, configuration, user="u", password="p") as client:
        found = {each.code: each for each in await inspect_bus(client, needs_of_manager(embedded=False))}
        text = found["permissions_missing"].text
        assert all(each in text for each in missing)


async def test_a_server_that_does_not_tell_permissions_is_said_to(tmp_path: Path) -> None:
    user = {"user": "u", "password": "p", "permissions": {"publish": {"deny": ["$SYS.>"]}}}
    configuration = with_jetstream(tmp_path, authorization={"users": [user]})
    async with connected(tmp_path, configuration, user="u", password="p") as client:
        found = await only(client, NOTHING, timeout_s=0.5)
        assert (found.code, found.weight) == ("permissions_unknown", Weight.NOTE)
