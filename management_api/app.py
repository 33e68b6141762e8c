"""The application: its routes, its guard and its connection, put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI

from agent_manager.protocol.release import release
from management_api import problem_handlers
from management_api.browser_guard import LOCAL_NAMES, BrowserGuard
from management_api.manager_client import ManagerClient
from management_api.openapi import DescribedApi
from management_api.routes import agents, events, health, inventory
from management_api.settings import Settings

PREFIX = "/api/v1"
ALIAS_PREFIX = "/api"
"""Answers the same paths; left out of the description."""


def create_app(manager: ManagerClient, settings: Settings) -> FastAPI:
    """The application on `manager`, whose connection is kept while the application runs (its lifespan)."""

    @asynccontextmanager
    async def connected(_: FastAPI) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            connection = group.create_task(manager.run(), name="nats-link")
            yield
            connection.cancel()

    app = DescribedApi(
        title="agent-manager",
        summary="Supervised agents: what runs, what it does, and whether it should",
        version=release(),
        openapi_url=f"{PREFIX}/openapi.json",
        # Their pages load scripts from elsewhere, which would run with this API's full rights.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=connected,
    )
    app.state.manager = manager
    app.state.settings = settings
    app.add_middleware(BrowserGuard, hosts={*LOCAL_NAMES, settings.service.host})
    problem_handlers.install(app)
    resources = _resources()
    app.include_router(resources, prefix=PREFIX)
    app.include_router(resources, prefix=ALIAS_PREFIX, include_in_schema=False)
    app.include_router(health.router)
    return app


def _resources() -> APIRouter:
    router = APIRouter()
    for part in (agents, inventory, events):
        router.include_router(part.router)
    return router
