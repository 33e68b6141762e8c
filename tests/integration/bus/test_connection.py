"""The manager's connection: there as soon as the server is, again whenever it was lost."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from agent_manager.adapters.nats.connection import BusConnection
from agent_manager.adapters.nats.credentials import issue_user
from agent_manager.adapters.nats.private_files import write_private
from agent_manager.adapters.system import SystemClock
from agent_manager.nats_access.access import Access
from agent_manager.nats_access.identity import CredentialsIdentity
from agent_manager.protocol import subjects
from agent_manager.protocol.permissions import OF_MANAGER, OF_SERVICE, Permissions
from agent_manager.services.eyesight import Eyesight
from tests.harness.nats_server import NatsHarness
from tests.harness.waiting import eventually

NO_SEED = (
    "-----BEGIN NATS USER JWT-----\nx\n------END NATS USER JWT------\n"
    "-----BEGIN USER NKEY SEED-----\nSUAX\n------END USER NKEY SEED------\n"
)


@dataclass
class Watched:
    """A connection and what it has told."""

    nats: NatsHarness
    credentials: Path
    told: list[str] = field(default_factory=list)
    heard: list[bytes] = field(default_factory=list)
    clients: list[Client] = field(default_factory=list)
    hold: asyncio.Event | None = None

    def __post_init__(self) -> None:
        self.bus = BusConnection(
            access=Access(servers=(self.nats.url,), identity=CredentialsIdentity(self.credentials)),
            on_connected=self.subscribe,
            on_up=lambda: self.told.append("up"),
            on_down=lambda: self.told.append("down"),
        )

    async def subscribe(self, client: Client) -> None:
        self.clients.append(client)
        self.told.append("connected")
        await client.subscribe("agent.status.>", cb=self.hear)
        if self.hold is not None:
            await self.hold.wait()

    async def hear(self, message: Msg) -> None:
        self.heard.append(message.data)

    async def hears(self) -> None:
        """Wait until what somebody says arrives."""
        speaker = await self.nats.connect_as_manager()
        before = len(self.heard)

        async def said_and_heard() -> bool:
            await speaker.publish("agent.status.a.b.c", b"!")
            await speaker.flush()
            return len(self.heard) > before

        await eventually(said_and_heard)
        await speaker.close()


@pytest.fixture
def watched(nats: NatsHarness) -> Watched:
    return Watched(nats, nats.files.manager_credentials)


def write_credentials(nats: NatsHarness, path: Path, permissions: Permissions, lifetime_s: float | None) -> None:
    text = issue_user(
        nats.prepared.keyring.issuer,
        name="manager",
        permissions=permissions,
        issued_at=time.time(),
        lifetime_s=lifetime_s,
    )
    write_private(path, text)


async def test_it_is_there_as_soon_as_the_server_is(
    nats: NatsHarness, watched: Watched, tasks: asyncio.TaskGroup, caplog: pytest.LogCaptureFixture
) -> None:
    await nats.stop()
    tasks.create_task(watched.bus.run())
    await eventually(lambda: [record for record in caplog.records if record.message == "bus_unreachable"])
    assert watched.bus.client is None
    assert watched.told == []
    await nats.start()
    await eventually(lambda: watched.told == ["connected", "up"])
    await watched.hears()


async def test_attempts_that_fail_alike_are_said_once(
    nats: NatsHarness, watched: Watched, tasks: asyncio.TaskGroup, caplog: pytest.LogCaptureFixture
) -> None:
    await nats.stop()
    attempts = 0

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal attempts
        attempts += 1
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", nats.prepared.port):
        task = tasks.create_task(watched.bus.run())
        await eventually(lambda: attempts >= 3)
        task.cancel()
    said = [record.__dict__["detail"] for record in caplog.records if record.message == "bus_not_nats"]
    assert said
    assert len(said) < attempts
    assert len(set(said)) == len(said)


async def test_a_server_that_was_killed_is_found_again_by_the_same_client(
    nats: NatsHarness, watched: Watched, tasks: asyncio.TaskGroup
) -> None:
    tasks.create_task(watched.bus.run())
    await eventually(lambda: watched.told == ["connected", "up"])
    await nats.kill()
    await eventually(lambda: watched.told == ["connected", "up", "down"])
    await nats.start()
    await eventually(lambda: watched.told == ["connected", "up", "down", "up"])
    assert watched.bus.client is watched.clients[0]
    await watched.hears()


async def test_renewed_credentials_are_taken_up_before_the_old_ones_expire_and_nothing_goes_down(
    nats: NatsHarness, tasks: asyncio.TaskGroup, tmp_path: Path
) -> None:
    credentials = tmp_path / "short.creds"
    write_credentials(nats, credentials, OF_MANAGER, 2.0)
    watched = Watched(nats, credentials)
    tasks.create_task(watched.bus.run())
    await eventually(lambda: watched.told == ["connected", "up"])
    write_credentials(nats, credentials, OF_MANAGER, None)
    await eventually(lambda: watched.told == ["connected", "up", "connected"])
    await eventually(lambda: watched.bus.client is watched.clients[1])
    await watched.hears()


async def test_after_an_expiry_another_client_is_built_from_credentials_renewed_late(
    nats: NatsHarness, tasks: asyncio.TaskGroup, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    credentials = tmp_path / "short.creds"
    write_credentials(nats, credentials, OF_MANAGER, 2.0)
    watched = Watched(nats, credentials)
    tasks.create_task(watched.bus.run())
    await eventually(lambda: watched.told == ["connected", "up", "down"])
    await eventually(lambda: [record for record in caplog.records if record.message == "bus_credentials_expired"])
    assert [record for record in caplog.records if record.message == "bus_credentials_not_renewed"]
    write_credentials(nats, credentials, OF_MANAGER, None)
    # In the second of the expiry a server may take them once more, for a moment.
    await eventually(lambda: [word for word in watched.told if word != "connected"] == ["up", "down", "up"])
    assert watched.bus.client is watched.clients[-1] is not watched.clients[0]
    await watched.hears()


async def test_refused_credentials_are_said_with_their_path_and_tried_again_until_they_are_good(
    nats: NatsHarness, tasks: asyncio.TaskGroup, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    credentials = tmp_path / "expired.creds"
    write_credentials(nats, credentials, OF_MANAGER, -60.0)
    watched = Watched(nats, credentials)
    tasks.create_task(watched.bus.run())

    def said() -> list[str]:
        return [r.__dict__["detail"] for r in caplog.records if r.message == "bus_credentials_expired"]

    await eventually(lambda: any(str(credentials) in words for words in said()))
    write_credentials(nats, credentials, OF_MANAGER, None)
    await eventually(lambda: watched.told == ["connected", "up"])


@pytest.mark.parametrize("content", [None, "", "no credentials at all", NO_SEED])
async def test_credentials_that_cannot_be_read_are_tried_again(
    nats: NatsHarness,
    tasks: asyncio.TaskGroup,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    content: str | None,
) -> None:
    credentials = tmp_path / "odd.creds"
    if content is not None:
        credentials.write_text(content)
    watched = Watched(nats, credentials)
    tasks.create_task(watched.bus.run())
    await eventually(lambda: [record for record in caplog.records if record.message == "bus_credentials_unreadable"])
    write_credentials(nats, credentials, OF_MANAGER, None)
    await eventually(lambda: watched.told == ["connected", "up"])


async def test_a_connection_lost_while_it_subscribes_is_not_said_to_be_up(
    nats: NatsHarness, watched: Watched, tasks: asyncio.TaskGroup
) -> None:
    watched.hold = asyncio.Event()
    tasks.create_task(watched.bus.run())
    await eventually(lambda: watched.told == ["connected"])
    await nats.kill()
    await eventually(lambda: not watched.clients[0].is_connected)
    watched.hold.set()
    await nats.start()
    await eventually(lambda: watched.told[-1] == "up")
    assert watched.told.count("up") == 1
    await watched.hears()


async def test_what_may_not_be_subscribed_to_does_not_end_the_connection(
    nats: NatsHarness, tasks: asyncio.TaskGroup, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    credentials = tmp_path / "service.creds"
    write_credentials(nats, credentials, OF_SERVICE, None)
    watched = Watched(nats, credentials)
    tasks.create_task(watched.bus.run())
    await eventually(lambda: watched.told == ["connected", "up"])
    await watched.clients[0].subscribe(subjects.API_OPERATIONS)
    await eventually(lambda: [record for record in caplog.records if record.message == "bus_permission_missing"])
    [said] = [record.__dict__["detail"] for record in caplog.records if record.message == "bus_permission_missing"]
    assert f"may not subscribe to {subjects.API_OPERATIONS};" in said
    assert watched.bus.client is not None


async def test_closing_sends_what_is_buffered_and_ends_the_run(
    nats: NatsHarness, watched: Watched, tasks: asyncio.TaskGroup
) -> None:
    listener = await nats.connect_as_manager()
    heard = await listener.subscribe("agent.event.>")
    await listener.flush()
    running = tasks.create_task(watched.bus.run())
    await eventually(lambda: watched.told == ["connected", "up"])
    client = watched.bus.client
    assert client is not None
    for _ in range(100):
        await client.publish("agent.event.echo.running", b"!")
    await watched.bus.close()
    await running
    assert watched.told == ["connected", "up", "down"]
    await eventually(lambda: heard.pending_msgs == 100)


async def test_closing_while_the_server_is_away_takes_no_part_in_that(
    nats: NatsHarness, watched: Watched, tasks: asyncio.TaskGroup
) -> None:
    tasks.create_task(watched.bus.run())
    await eventually(lambda: watched.told == ["connected", "up"])
    await nats.kill()
    await watched.bus.close()


async def test_a_server_that_hangs_is_not_looked_through_though_it_is_connected(
    nats: NatsHarness, watched: Watched, tasks: asyncio.TaskGroup
) -> None:
    eyesight = Eyesight(SystemClock())
    tasks.create_task(watched.bus.run())
    await eventually(lambda: watched.told == ["connected", "up"])
    tasks.create_task(eyesight.run(watched.bus.round_trip))
    eyesight.opened()
    sighted = eyesight.since
    assert sighted is not None
    assert await watched.bus.round_trip(20.0)
    nats.hang()
    await eventually(lambda: eyesight.since is None)
    nats.go_on()
    await eventually(lambda: eyesight.since is not None and eyesight.since > sighted)
    assert watched.told == ["connected", "up"]
    await watched.hears()


async def test_without_a_connection_there_is_no_round_trip(watched: Watched) -> None:
    assert not await watched.bus.round_trip(20.0)
