"""The settings of the management API: one tree, loaded once.

`docs/reference/settings.md` and `config/management_api.yaml` are generated from it.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SecretStr

from agent_manager.configuration.addresses import shown_database
from agent_manager.configuration.database_url import DatabaseUrl
from agent_manager.configuration.kinds import Text, seconds, text, whole
from agent_manager.configuration.nats import NatsSettings
from agent_manager.configuration.program import Program
from agent_manager.configuration.service import ServiceSettings
from agent_manager.configuration.tree import Group, Setting
from agent_manager.documents.fields import unmet


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`; names other than localhost are not resolved and not trusted."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _loopback(value: Any) -> str:
    if not isinstance(value, str) or not is_loopback(value):
        raise unmet(
            "a loopback address (127.0.0.1, ::1 or localhost), since the API has no authentication: whoever reaches it "
            "controls every agent. Use a tunnel (ssh -L) from elsewhere"
        )
    return value


class ApiServiceSettings(ServiceSettings):
    """The program itself."""

    name: Text = "management-api"
    """What this service is called in its log and towards the bus."""
    host: Annotated[str, BeforeValidator(_loopback)] = "127.0.0.1"
    """Address to listen on; a loopback address."""
    port: Annotated[int, whole(0, 65_535)] = 8000
    """Port to listen on; 0 takes any free one, which the log names."""
    request_timeout_s: Annotated[float, seconds(0.1, 300)] = 10.0
    """How long a manager may take to answer, added to what the caller is willing to wait."""


class StreamSettings(Group):
    """Event streams (SSE)."""

    keep_alive_s: Annotated[float, seconds(0.01, 300)] = 15.0
    """Silence after which a comment is sent."""
    backlog_bytes: Annotated[int, whole(1, 1_000_000_000)] = 1_048_576
    """Newest events kept for all readers, and live output for each; what is older is read where it is stored."""


class DatabaseSettings(Group):
    """The API's own tables; they may share a database with the manager's."""

    url: Annotated[
        DatabaseUrl | None,
        Setting(variables=("DATABASE_URL",), secret=True, shown_as=shown_database, awaits="users and tokens"),
    ] = Field(default=None, repr=False)
    """Where users and tokens are kept."""
    pool_size: Annotated[int, whole(1, 1_000), Setting(awaits="users and tokens")] = 5
    """Connections to PostgreSQL that are kept open."""
    max_overflow: Annotated[int, whole(0, 1_000), Setting(awaits="users and tokens")] = 10
    """Connections to PostgreSQL opened beyond those when all are in use."""


class AuthSettings(Group):
    """Who may use the API."""

    jwt_secret: Annotated[
        Annotated[SecretStr, text()] | None,
        Setting(variables=("JWT_SECRET",), secret=True, awaits="users and tokens"),
    ] = None
    """Signs the tokens of users."""


class Settings(Group):
    """Everything that can be chosen of the API."""

    service: ApiServiceSettings = ApiServiceSettings()
    """The program itself."""
    nats: NatsSettings = NatsSettings()
    """The bus, and who the API is there. Without `url` and `context`: the server on this host's port 4222."""
    streams: StreamSettings = StreamSettings()
    """Event streams."""
    database: DatabaseSettings = DatabaseSettings()
    """The API's own tables."""
    auth: AuthSettings = AuthSettings()
    """Who may use the API."""


API = Program(
    name="management-api",
    model=Settings,
    prefix="MANAGEMENT_API",
    files=(Path("config/management_api.yaml"), Path("/etc/agent-manager/management_api.yaml")),
)
