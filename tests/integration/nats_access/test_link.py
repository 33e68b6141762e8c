"""A connection that is kept: over outages, to other servers, over renewals."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from pathlib import Path

import nats
import pytest
from nats.aio.msg import Msg

from agent_manager.nats_access.access import Access
from agent_manager.nats_access.identity import UserIdentity
from agent_manager.nats_access.notices import log_fields
from agent_manager.nats_access.trouble import TroubleCode
from tests.harness.external_nats import ExternalNats, external_nats, nats_cluster
from tests.harness.waiting import eventually
from tests.integration.nats_access.kept import Kept, kept
from tests.integration.nats_access.odd_server import ODD_INFO, odd_server


async def hears(link: Kept) -> None:
    """Wait until what is published arrives."""
    before = len(link.heard)

    async def said_and_heard() -> bool:
        client = link.link.client
        if client is not None:
            await client.publish("heard.x", b"!")
        return len(link.heard) > before

    await eventually(said_and_heard)


async def moved(link: Kept, from_server: ExternalNats) -> None:
    """Wait until it is connected to another server."""
    await eventually(lambda: link.server and not from_server.url.endswith(link.server))


@pytest.mark.parametrize("reconnects", [True, False])
async def test_an_outage_is_survived_and_said_once(tmp_path: Path, reconnects: bool) -> None:
    async with (
        external_nats(tmp_path, {}) as server,
        kept(Access(servers=(server.url,)), reconnects=reconnects) as link,
    ):
        await eventually(lambda: link.told == ["up"])
        await server.kill()
        await eventually(lambda: len(link.troubles) >= 5)
        await server.start()
        await eventually(lambda: link.told == ["up", "down", "up"])
        await hears(link)
        assert link.events.count("bus_unreachable") == 1
        assert link.events.count("bus_disconnected") == 1


@pytest.mark.parametrize("reconnects", [True, False])
async def test_of_three_servers_two_may_die_one_after_the_other(tmp_path: Path, reconnects: bool) -> None:
    async with nats_cluster(tmp_path, 3, {}) as servers:
        access = Access(servers=tuple(server.url for server in servers))
        async with kept(access, reconnects=reconnects) as link:
            await eventually(lambda: link.told == ["up"])
            for _ in range(2):
                [present] = [server for server in servers if server.url.endswith(link.server)]
                await present.kill()
                await moved(link, present)
                await hears(link)


async def test_a_server_of_which_only_the_cluster_told_is_found(tmp_path: Path) -> None:
    async with nats_cluster(tmp_path, 2, {}) as (first, second), kept(Access(servers=(first.url,))) as link:
        await eventually(lambda: link.told == ["up"])
        await first.kill()
        await eventually(lambda: link.server and second.url.endswith(link.server))
        await hears(link)


async def test_a_server_that_is_going_down_is_left_before_it_is_gone(tmp_path: Path) -> None:
    async with (
        nats_cluster(tmp_path, 2, {}) as servers,
        kept(Access(servers=tuple(server.url for server in servers))) as link,
    ):
        await eventually(lambda: link.told == ["up"])
        [present] = [server for server in servers if server.url.endswith(link.server)]
        present.lame_duck()
        await moved(link, present)
        assert link.told == ["up"]
        assert "bus_lame_duck" in link.events
        assert "bus_replaced" in link.events
        await hears(link)


@pytest.mark.parametrize("info", ODD_INFO)
async def test_a_server_in_whose_place_something_odd_was_is_found_again(tmp_path: Path, info: bytes) -> None:
    async with external_nats(tmp_path, {}) as server, kept(Access(servers=(server.url,))) as link:
        await eventually(lambda: link.told == ["up"])
        await server.kill()
        async with odd_server(info, server.port):
            await eventually(lambda: "bus_not_nats" in link.events)
        await server.start()
        await hears(link)
        assert link.told == ["up", "down", "up"]


async def test_what_comes_before_a_server_that_is_going_down_is_left_is_heard_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_manager.nats_access.link.random.uniform", lambda *_: 3600.0)
    async with external_nats(tmp_path, {}) as server, kept(Access(servers=(server.url,))) as link:
        await eventually(lambda: link.told == ["up"])
        server.lame_duck()
        await eventually(lambda: "bus_lame_duck" in link.events)
        await hears(link)
        assert "bus_replaced" not in link.events


async def test_a_client_that_is_ready_only_after_the_end_is_not_kept(tmp_path: Path) -> None:
    async with external_nats(tmp_path, {}) as server:
        link = Kept(Access(servers=(server.url,)))
        link.subscribing = asyncio.Event()
        running = asyncio.create_task(link.link.run())
        await eventually(lambda: link.clients)
        await link.link.close()
        link.subscribing.set()
        async with asyncio.timeout(20):
            await running
        assert link.clients[0].is_closed
        assert link.told == []


async def test_a_client_that_takes_the_place_of_another_at_the_end_is_closed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with external_nats(tmp_path, {}) as server:
        link = Kept(Access(servers=(server.url,)))
        running = asyncio.create_task(link.link.run())
        await eventually(lambda: link.told == ["up"])
        session, former = link.link._session, link.link.client
        assert session is not None
        assert former is not None

        async def replaced(**_: int) -> None:
            session.replace("a test")
            await eventually(lambda: link.link.client is not former)

        monkeypatch.setattr(former, "flush", replaced)
        await link.link.close()
        async with asyncio.timeout(20):
            await running
        assert [client.is_closed for client in link.clients] == [True, True]


async def test_an_error_nobody_reckoned_with_is_said_with_where_it_was_raised(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with external_nats(tmp_path, {}) as server, kept(Access(servers=(server.url,))) as link:
        await eventually(lambda: link.told == ["up"])
        client = link.link.client
        assert client is not None

        async def stumble(_: Msg) -> None:
            raise ValueError("stumbled")

        await client.subscribe("stumble", cb=stumble)
        await client.publish("stumble")
        await eventually(lambda: link.troubles)
    [notice] = [each for each in link.notices if each.event == "bus_error"]
    log_fields(logging.getLogger("of the test"))(notice)
    assert 'raise ValueError("stumbled")' in caplog.text


async def test_messages_that_come_faster_than_they_are_taken_are_counted_and_said(tmp_path: Path) -> None:
    async with external_nats(tmp_path, {}) as server, kept(Access(servers=(server.url,))) as link:
        await eventually(lambda: link.told == ["up"])
        link.hold = asyncio.Event()
        speaker = await nats.connect(server.url)
        block = b"x" * 1_000_000

        async def dropped() -> bool:
            for _ in range(10):
                await speaker.publish("heard.x", block)
            await speaker.flush()
            return link.link.dropped >= 3

        # nats-py keeps 128 MiB for a subscription.
        await eventually(dropped, 60.0)
        assert 1 <= link.events.count("bus_slow_consumer") < link.link.dropped
        assert TroubleCode.SLOW_CONSUMER in {each.code for each in link.troubles}
        link.hold.set()
        await speaker.close()


async def test_what_may_not_be_subscribed_to_is_named_and_ends_nothing(tmp_path: Path) -> None:
    rules = {"publish": {"deny": ["Said.>"]}, "subscribe": {"deny": ["heard.>"]}}
    user = {"user": "u", "password": "p", "permissions": rules}
    async with external_nats(tmp_path, {"authorization": {"users": [user]}}) as server:
        access = Access(servers=(server.url,), identity=UserIdentity("u", "p"))
        async with kept(access) as link:
            await eventually(lambda: "bus_permission_missing" in link.events)
            assert "may not subscribe to heard.>" in link.troubles[0].text
            await eventually(lambda: link.link.client is not None)
            assert link.link.client is not None
            await link.link.client.publish("Said.Here", b"")
            await eventually(lambda: "may not publish on Said.Here;" in link.troubles[-1].text)


async def test_a_flush_that_was_given_up_ends_nothing(tmp_path: Path) -> None:
    async with external_nats(tmp_path, {}) as server, kept(Access(servers=(server.url,))) as link:
        await eventually(lambda: link.told == ["up"])
        assert link.link.client is not None
        given_up = asyncio.get_running_loop().create_future()
        given_up.cancel()
        await link.link.client._send_ping(given_up)
        await link.link.client.flush()
        await hears(link)
        assert link.told == ["up"]


async def test_a_subscription_that_was_ended_is_not_kept(tmp_path: Path) -> None:
    async with external_nats(tmp_path, {}) as server, kept(Access(servers=(server.url,))) as link:
        await eventually(lambda: link.told == ["up"])
        assert link.link.client is not None
        subscription = await link.link.client.subscribe("once", cb=link._hear)
        await subscription.unsubscribe()
        ended = weakref.ref(subscription)
        del subscription
        await eventually(lambda: gc.collect() >= 0 and ended() is None)
