"""The management API as it runs in production, in the test's own event loop and on a random port."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI

from agent_manager.protocol.errors import RequestFailedError
from management_api.app import create_app
from management_api.manager_client import ManagerClient
from management_api.server import ApiServer
from management_api.settings import Settings
from tests.harness.nats_server import NatsHarness
from tests.harness.waiting import eventually


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveApi:
    """A running API: its address, a client, and what it is made of."""

    url: str
    port: int
    http: httpx.AsyncClient
    app: FastAPI
    manager: ManagerClient
    server: ApiServer

    @property
    def connected(self) -> bool:
        """Whether it is connected to NATS."""
        try:
            return self.manager.check_connected().is_connected
        except RequestFailedError:
            return False

    def stop(self) -> None:
        """Do what a signal does."""
        self.server.should_exit = True


@asynccontextmanager
async def running_api(
    nats: NatsHarness, *, connected: bool = True, port: int = 0, **settings: Any
) -> AsyncIterator[LiveApi]:
    """An API on a bus; returned once it is connected, unless that is not to be. `settings` are groups, as mappings."""
    made = Settings.model_validate({"nats": {"url": nats.url, "creds": str(nats.files.api_credentials)}, **settings})
    manager = ManagerClient(made)
    app = create_app(manager, made)
    server = ApiServer(app, manager, made)
    # With its protocol named, or asyncio would leave Nagle's algorithm on: 40 ms for each answer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    async with asyncio.TaskGroup() as group, httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as http:
        api = LiveApi(url=url, port=port, http=http, app=app, manager=manager, server=server)
        group.create_task(server.serve(sockets=[listener]))
        try:
            await eventually(lambda: server.started and (api.connected or not connected))
            yield api
        finally:
            api.stop()
