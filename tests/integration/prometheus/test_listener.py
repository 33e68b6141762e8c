"""`GET /metrics` of the manager: served from threads, given up for nobody."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from wsgiref.simple_server import make_server

import httpx
import pytest
from prometheus_client import CollectorRegistry, Gauge

from agent_manager.adapters.prometheus import listener as listener_module
from agent_manager.adapters.prometheus.listener import MetricsListener
from tests.harness.waiting import eventually


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    Gauge("answer", "To everything.", registry=registry).set(42)
    return registry


@asynccontextmanager
async def running(listener: MetricsListener) -> AsyncIterator[MetricsListener]:
    task = asyncio.create_task(listener.run())
    try:
        yield listener
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def scrape(url: str | None) -> httpx.Response:
    assert url is not None
    async with httpx.AsyncClient(trust_env=False) as http:
        return await http.get(url)


async def test_metrics_are_served_until_it_is_cancelled(registry: CollectorRegistry) -> None:
    async with running(MetricsListener(registry, host="127.0.0.1", port=0)) as listener:
        url = await eventually(lambda: listener.address)
        answer = await scrape(url)
        assert answer.status_code == 200
        assert "answer 42.0" in answer.text.splitlines()
    assert listener.address is None
    with pytest.raises(httpx.ConnectError):
        await scrape(url)


async def test_whoever_connects_and_says_nothing_holds_up_nobody(registry: CollectorRegistry) -> None:
    async with running(MetricsListener(registry, host="127.0.0.1", port=0)) as listener:
        address = httpx.URL(await eventually(lambda: listener.address))
        with socket.create_connection((address.host, address.port)):
            for _ in range(3):
                assert (await scrape(listener.address)).status_code == 200


async def test_an_event_loop_that_hangs_is_scraped_all_the_same(registry: CollectorRegistry) -> None:
    async with running(MetricsListener(registry, host="127.0.0.1", port=0)) as listener:
        await eventually(lambda: listener.address)

        def hang_until_scraped() -> httpx.Response:
            assert listener.address is not None
            return httpx.get(listener.address, trust_env=False)

        assert hang_until_scraped().status_code == 200


async def test_an_address_of_ip_version_6(registry: CollectorRegistry) -> None:
    async with running(MetricsListener(registry, host="::1", port=0)) as listener:
        assert (await scrape(await eventually(lambda: listener.address))).status_code == 200


async def test_a_name_that_cannot_be_one_is_told_and_ends_nothing(
    registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(MetricsListener(registry, host="a..b", port=0)):
        await eventually(lambda: "metrics_not_served" in caplog.messages)


async def test_a_port_that_is_taken_is_said_once_and_had_as_soon_as_it_is_free(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[int] = []

    def counted(host: str, port: int, *arguments: Any) -> Any:
        tries.append(port)
        return make_server(host, port, *arguments)

    monkeypatch.setattr(listener_module, "make_server", counted)
    monkeypatch.setattr(listener_module, "RETRY_S", 0.01)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with running(MetricsListener(registry, host="127.0.0.1", port=port)) as listener:
            await eventually(lambda: len(tries) > 3)
            assert listener.address is None
            taken.close()
            assert (await scrape(await eventually(lambda: listener.address))).status_code == 200
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == ["metrics_not_served"]
