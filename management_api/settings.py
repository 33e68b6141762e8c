"""Settings of the management API, read once from the environment (`MANAGEMENT_API_…`)."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Where to listen, which bus to use, and how long to wait. Times are seconds."""

    model_config = SettingsConfigDict(env_prefix="MANAGEMENT_API_", frozen=True, use_attribute_docstrings=True)

    host: str = "127.0.0.1"
    """Address to listen on; a loopback address."""
    port: int = Field(default=8000, ge=0, le=65_535)
    """0 takes any free port; the log names it."""
    nats_url: str = "nats://127.0.0.1:4222"
    nats_creds: Path | None = None
    """Credentials file of the API's own user on the bus; read again at every connection."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    request_timeout_s: float = Field(default=10.0, gt=0, le=300, allow_inf_nan=False)
    """How long a manager may take to answer, added to what the caller is willing to wait."""
    keep_alive_s: float = Field(default=15.0, gt=0, le=300, allow_inf_nan=False)
    """Silence on an event stream after which a comment is sent."""
    backlog_bytes: int = Field(default=1_048_576, ge=1)
    """Events kept for one slow reader of a stream; a reader further behind is disconnected."""

    @field_validator("host")
    @classmethod
    def _loopback(cls, host: str) -> str:
        if not is_loopback(host):
            raise ValueError(
                f"{host!r} is not a loopback address, and the API has no authentication: whoever reaches it controls "
                "every agent. Use 127.0.0.1, ::1 or localhost, and a tunnel (ssh -L) from elsewhere"
            )
        return host


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`; names other than localhost are not resolved and not trusted."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
