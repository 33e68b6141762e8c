"""`/instances`, `/packages` and `/nodes`: what runs, what it is made from and where it runs."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query

from agent_manager.protocol import operations
from agent_manager.protocol.messages import Message
from agent_manager.protocol.operations import PackageParams, PageParams
from management_api.openapi import described, problem_responses
from management_api.routes.parameters import Manager, PackageName

router = APIRouter()


@router.get("/instances", tags=["instances"], **described(operations.INSTANCES_LIST))
async def list_instances(manager: Manager, page: Annotated[PageParams, Query()]) -> Message:
    """A page of instances in order of id. What their processes use is measured anew for each request."""
    return await manager.call(operations.INSTANCES_LIST, params=page)


@router.get("/packages", tags=["packages"], **described(operations.PACKAGES_LIST))
async def list_packages(manager: Manager, page: Annotated[PageParams, Query()]) -> Message:
    """A page of packages; an invalid one says what is wrong, in which file and line."""
    return await manager.call(operations.PACKAGES_LIST, params=page)


_RETRY = described(operations.PACKAGES_RETRY)
_NO_PACKAGE = problem_responses({HTTPStatus.NOT_FOUND: "No such package"})


@router.post(
    "/packages/{name}/retry",
    tags=["packages"],
    status_code=HTTPStatus.ACCEPTED,
    **{**_RETRY, "responses": {**_NO_PACKAGE, **_RETRY["responses"]}},
)
async def retry_package(manager: Manager, name: PackageName) -> Message:
    """For a package that is `failed`; answered with the package as it was, what comes of it is told as an event."""
    return await manager.call(operations.PACKAGES_RETRY, params=PackageParams(name=name))


@router.get("/nodes", tags=["nodes"], **described(operations.NODES_LIST))
async def list_nodes(manager: Manager, page: Annotated[PageParams, Query()]) -> Message:
    """A page of nodes and what runs on them."""
    return await manager.call(operations.NODES_LIST, params=page)
