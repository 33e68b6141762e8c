"""The application: its routes, its guard and its connection, put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, Depends, FastAPI
from starlette.types import ASGIApp

from agent_manager.protocol.release import release
from agent_manager.telemetry.spans import NoSpans, Spans
from management_api import problem_handlers
from management_api.browser_guard import LOCAL_NAMES, BrowserGuard
from management_api.manager_client import ManagerClient
from management_api.metrics import ApiMetrics
from management_api.openapi import DescribedApi
from management_api.request_scope import RequestScope
from management_api.routes import agents, events, health, inventory, metrics
from management_api.routes.known_parameters import refuse_unknown_parameters
from management_api.settings import Settings

PREFIX = "/api/v1"
ALIAS_PREFIX = "/api"
"""Answers the same paths; left out of the description."""


class _Api(DescribedApi):
    """The application inside its request scope, which is outside of everything else that may answer."""

    counted: ApiMetrics
    spans: Spans

    def build_middleware_stack(self) -> ASGIApp:
        return RequestScope(super().build_middleware_stack(), metrics=self.counted, spans=self.spans)


def create_app(manager: ManagerClient, settings: Settings, spans: Spans | None = None) -> FastAPI:
    """The application on `manager`, whose connection is kept while the application runs (its lifespan)."""

    @asynccontextmanager
    async def connected(_: FastAPI) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            connection = group.create_task(manager.run(), name="nats-link")
            yield
            connection.cancel()

    app = _Api(
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
    app.spans = spans or NoSpans()
    app.counted = ApiMetrics(
        version=release(), event_streams=lambda: manager.streams.count, bus_connected=lambda: manager.is_connected
    )
    app.state.metrics = app.counted
    app.state.manager = manager
    app.state.settings = settings
    app.add_middleware(BrowserGuard, hosts={*LOCAL_NAMES, settings.service.host})
    problem_handlers.install(app)
    resources = _resources()
    app.include_router(resources, prefix=PREFIX)
    app.include_router(resources, prefix=ALIAS_PREFIX, include_in_schema=False)
    app.include_router(health.router)
    app.include_router(metrics.router)
    return app


def _resources() -> APIRouter:
    router = APIRouter(dependencies=[Depends(refuse_unknown_parameters)])
    for part in (agents, inventory, events):
        router.include_router(part.router)
    return router
