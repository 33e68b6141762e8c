"""The settings of the manager, read from the environment once; each component is given only what it needs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ManagerSettings(BaseSettings):
    """Environment variables `AGENT_MANAGER_…`. Paths are absolute; times are seconds."""

    model_config = SettingsConfigDict(env_prefix="AGENT_MANAGER_", frozen=True, extra="ignore")

    data_dir: Path
    packages_dir: Path
    nats_url: str
    database_url: str
    node_id: str
    cluster_id: str
    launcher_fd: int = Field(default=3, ge=0)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    discovery_interval_s: float = Field(default=30.0, gt=0)
    """Packages are watched; this is how often they are looked at anyway (R63)."""
    monitoring_interval_s: float = Field(default=10.0, gt=0)
    """How often the reconciler looks again although nobody nudged it (R63)."""
