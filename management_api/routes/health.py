"""`/health` for people and monitors, `/healthz` and `/readyz` for whoever keeps this program alive or sends traffic."""

from __future__ import annotations

from http import HTTPStatus
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from agent_manager.protocol import operations
from agent_manager.protocol.operations import PageParams
from agent_manager.protocol.resources import NodeList, StoreView
from management_api.openapi import problem_responses
from management_api.routes.parameters import Manager

READY_TIMEOUT_S = 2.0
"""How long a manager may take to show that it is there."""

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """A program that is well."""

    status: str


class NodeHealth(BaseModel):
    """A node, and whether it reaches its database."""

    id: str
    version: str
    store: StoreView | None


class SystemHealth(BaseModel):
    """`degraded`: agents are supervised, but commands are refused, since a node does not reach its database."""

    status: Literal["ok", "degraded"]
    nodes: list[NodeHealth]


@router.head("/health", include_in_schema=False)
@router.get(
    "/health",
    summary="How the system does",
    operation_id="system_health",
    responses=problem_responses({HTTPStatus.SERVICE_UNAVAILABLE: "No NATS, or no manager answers"}),
)
async def system_health(manager: Manager) -> SystemHealth:
    """What works and what does not, for people and monitors: answered as long as a manager is there to ask."""
    found = await manager.call(operations.NODES_LIST, params=PageParams(), timeout_s=READY_TIMEOUT_S)
    nodes = found.items if isinstance(found, NodeList) else []
    return SystemHealth(
        status="ok" if all(node.store is None or node.store.available for node in nodes) else "degraded",
        nodes=[NodeHealth(id=node.id, version=node.version, store=node.store) for node in nodes],
    )


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz", summary="Whether this program is alive", operation_id="health", responses=problem_responses({}))
async def healthz() -> Health:
    """Says nothing of NATS and managers: restarting this program would not bring those back."""
    return Health(status="alive")


@router.head("/readyz", include_in_schema=False)
@router.get(
    "/readyz",
    summary="Whether requests can be answered",
    operation_id="readiness",
    responses=problem_responses({HTTPStatus.SERVICE_UNAVAILABLE: "No NATS, or no manager answers"}),
)
async def readyz(manager: Manager) -> Health:
    """Connected to NATS, and a manager answers."""
    await manager.call(operations.NODES_LIST, params=PageParams(page_size=1), timeout_s=READY_TIMEOUT_S)
    return Health(status="ready")
