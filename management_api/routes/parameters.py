"""What routes take: the manager's client, the settings, and parameters that several routes share."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, Header, Path, Query, Request

from agent_manager.protocol.subjects import TOKEN_PATTERN
from management_api.manager_client import ManagerClient
from management_api.settings import Settings

_TOKEN = f"^{TOKEN_PATTERN}$"


def _manager(request: Request) -> ManagerClient:
    return cast(ManagerClient, request.app.state.manager)


def _settings(request: Request) -> Settings:
    return cast(Settings, request.app.state.settings)


Manager = Annotated[ManagerClient, Depends(_manager)]
ApiSettings = Annotated[Settings, Depends(_settings)]
AgentId = Annotated[str, Path(pattern=_TOKEN, description="Id of an agent", examples=["echo"])]
PackageName = Annotated[
    str, Path(min_length=1, max_length=255, description="Name of a package's folder", examples=["echo"])
]
AgentFilter = Annotated[str | None, Query(alias="agent_id", pattern=_TOKEN, description="Only this agent")]
EventType = Annotated[
    str | None, Query(alias="type", pattern=_TOKEN, description="Only events of this type", examples=["exited"])
]
LastEventId = Annotated[
    str | None, Header(max_length=32_768, description="Id of the last event received: goes on after it")
]
