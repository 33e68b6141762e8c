"""What a node that runs was started with: its manager reads its settings there, wherever the doctor is called."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from agent_manager.cli.service_table import EMBEDDED_VARIABLES, SERVICES_FILE


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """Environment of the manager, without what was added for a NATS server of the node's own, and working directory.

    Relative paths, `.env` and the usual file of settings begin there.
    """

    environ: Mapping[str, str]
    directory: Path

    @classmethod
    def of(cls, data_dir: Path) -> Self | None:
        """As the launcher was told; None where that cannot be read."""
        try:
            table = json.loads((data_dir / SERVICES_FILE).read_text(encoding="utf-8"))
            services = {service["name"]: service for service in table["services"]}
            environ, directory = dict(services["manager"]["env"]), Path(services["manager"]["cwd"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if "nats" in services:
            environ = {name: value for name, value in environ.items() if name not in EMBEDDED_VARIABLES}
        return cls(environ=environ, directory=directory) if directory.is_dir() else None
