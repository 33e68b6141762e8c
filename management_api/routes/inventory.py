"""`/packages` and `/nodes`: what agents are made from and where they run."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from agent_manager.protocol import operations
from agent_manager.protocol.messages import Message
from agent_manager.protocol.operations import PageParams
from management_api.openapi import described
from management_api.routes.parameters import Manager

router = APIRouter()


@router.get("/packages", tags=["packages"], **described(operations.PACKAGES_LIST))
async def list_packages(manager: Manager, page: Annotated[PageParams, Query()]) -> Message:
    """A page of packages; an invalid one says what is wrong, in which file and line."""
    return await manager.call(operations.PACKAGES_LIST, params=page)


@router.get("/nodes", tags=["nodes"], **described(operations.NODES_LIST))
async def list_nodes(manager: Manager, page: Annotated[PageParams, Query()]) -> Message:
    """A page of nodes and what runs on them."""
    return await manager.call(operations.NODES_LIST, params=page)
