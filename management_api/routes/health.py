"""`/healthz` and `/readyz`: for whoever keeps this program alive or sends it traffic."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter
from pydantic import BaseModel

from agent_manager.protocol import operations
from agent_manager.protocol.operations import PageParams
from management_api.openapi import problem_responses
from management_api.routes.parameters import Manager

READY_TIMEOUT_S = 2.0
"""How long a manager may take to show that it is there."""

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """A program that is well."""

    status: str


@router.get("/healthz", summary="Whether this program is alive", operation_id="health", responses=problem_responses({}))
async def healthz() -> Health:
    """Says nothing of NATS and managers: restarting this program would not bring those back."""
    return Health(status="alive")


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
