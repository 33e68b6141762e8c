"""Whom the embedded server lets in, and for how long."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import nats.errors
import pytest
from nats.aio.client import Client, RawCredentials

from agent_manager.adapters.nats.credentials import issue_user
from agent_manager.adapters.nats.keyring import Issuer, load_keyring, load_or_create_keyring
from agent_manager.adapters.nats.private_files import write_private
from agent_manager.ports.identities import LaunchName
from agent_manager.protocol import subjects
from agent_manager.protocol.permissions import OF_MANAGER
from tests.harness.nats_server import NatsHarness, settle
from tests.harness.waiting import eventually


async def assert_refused(server: NatsHarness, **options: Any) -> None:
    """Connecting must fail because of who asks, not for want of a server."""
    said: list[Exception] = []

    async def note(error: Exception) -> None:
        said.append(error)

    client = Client()
    with pytest.raises(nats.errors.Error):
        await client.connect(server.url, allow_reconnect=False, error_cb=note, **options)
    await client.close()
    assert "authorization" in " ".join(map(str, said)).lower()


def user(issuer: Issuer, *, lifetime_s: float | None = None) -> str:
    return issue_user(issuer, name="probe", permissions=OF_MANAGER, issued_at=time.time(), lifetime_s=lifetime_s)


async def test_who_has_no_credentials_is_refused(nats: NatsHarness) -> None:
    await assert_refused(nats)


async def test_who_has_a_password_is_refused(nats: NatsHarness) -> None:
    await assert_refused(nats, user="manager", password="manager")


async def test_the_user_of_another_installation_is_refused(nats: NatsHarness, tmp_path: Path) -> None:
    foreign = load_or_create_keyring(tmp_path / "foreign" / "keys")
    await assert_refused(nats, user_credentials=RawCredentials(user(foreign.issuer)))


async def test_a_foreign_key_cannot_sign_for_our_account(nats: NatsHarness, tmp_path: Path) -> None:
    foreign = load_or_create_keyring(tmp_path / "foreign" / "keys")
    issuer = Issuer(nats.prepared.keyring.account.public, foreign.account_signing)
    await assert_refused(nats, user_credentials=RawCredentials(user(issuer)))


async def test_a_token_with_the_seed_of_another_user_is_refused(nats: NatsHarness) -> None:
    issuer = nats.prepared.keyring.issuer
    token, _, _ = user(issuer).partition("\n\n")
    _, _, seed = user(issuer).partition("\n\n")
    await assert_refused(nats, user_credentials=RawCredentials(f"{token}\n\n{seed}"))


async def test_an_expired_user_is_refused(nats: NatsHarness) -> None:
    expired = user(nats.prepared.keyring.issuer, lifetime_s=-1)
    await assert_refused(nats, user_credentials=RawCredentials(expired))


async def test_the_server_closes_the_connection_of_a_launch_whose_user_expires(nats: NatsHarness) -> None:
    path = nats.identities_for(lifetime_s=2).issue(LaunchName("echo", "echo_0", "launch1"))
    closed = asyncio.Event()

    async def note_closed() -> None:
        closed.set()

    agent = await nats.connect(Path(path), subjects.inbox_prefix("echo_0", "launch1"), closed_cb=note_closed)
    await settle(agent)

    await asyncio.wait_for(closed.wait(), timeout=20)
    assert agent.is_closed


async def test_credentials_stay_good_when_the_server_is_restarted(nats: NatsHarness) -> None:
    agent = await nats.connect_as_launch("echo", "echo_0", "launch1")
    manager = await nats.connect_as_manager()
    heartbeats = await manager.subscribe(f"agent.status.{nats.node_id}.*.*")
    await settle(manager)

    await nats.kill()
    await eventually(lambda: not agent.is_connected and not manager.is_connected)
    await nats.restart()
    await eventually(lambda: agent.is_connected and manager.is_connected)
    await settle(manager)

    await agent.publish(f"agent.status.{nats.node_id}.echo_0.launch1", b"alive")
    assert (await heartbeats.next_msg(timeout=20)).data == b"alive"


async def test_preparing_again_keeps_the_keys_so_that_older_credentials_stay_good(nats: NatsHarness) -> None:
    older = nats.files.service_credentials.read_text()
    before = load_keyring(nats.files.keys)

    await nats.prepare_again()

    after = nats.prepared.keyring
    assert [key.public for key in (before.operator, before.system_account, before.account, before.account_signing)] == [
        key.public for key in (after.operator, after.system_account, after.account, after.account_signing)
    ]
    write_private(nats.files.directory / "older.creds", older)
    service = await nats.connect(nats.files.directory / "older.creds", "_INBOX")
    assert service.is_connected
