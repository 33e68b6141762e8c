"""Requests that are cancelled while their connection goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpcore
import pytest

from agent_manager.cli.ctl.api import Api
from agent_manager.cli.ctl.following import followed
from agent_manager.cli.ctl.http import Answer, Http


class FailsToClose(Http):
    """Nothing comes from it, and closing it fails, as on a connection that the other side has reset."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def request(self, method: str, path: str, *_: Any, **__: Any) -> Answer:
        async with self.stream(method, path):
            raise AssertionError

    @asynccontextmanager
    async def stream(self, *_: Any, **__: Any) -> AsyncIterator[httpcore.Response]:
        try:
            self.asked.set()
            await asyncio.Event().wait()
            yield httpcore.Response(200)
        finally:
            raise httpcore.ReadError("reset")


async def _follow(api: Api) -> None:
    async for _ in followed(api, "/events", {}):
        pass


async def _ask(api: Api) -> None:
    await api.get("/agents")


@pytest.mark.parametrize("what", [_follow, _ask])
async def test_a_cancellation_is_not_taken_for_a_lost_connection(what: Any) -> None:
    connection = FailsToClose()
    task = asyncio.create_task(what(Api(connection, "http://api")))
    await connection.asked.wait()
    task.cancel()
    async with asyncio.timeout(30):
        await asyncio.wait([task])
    assert task.cancelled()
