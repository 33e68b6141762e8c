"""Where the API is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from agent_manager.cli.ctl.failures import AgentctlError, ExitCode

DEFAULT_API_URL = "http://127.0.0.1:8000"
UP_FILE = "up.json"
"""Written into the data directory by `agent-manager up`; its `api_url` says where the API listens."""
DEFAULT_DATA_DIR = Path(".agent-manager")


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where the API is, as far as the caller has said."""

    api_url: str | None
    data_dir: Path | None

    def find_api(self) -> str:
        """Its URL. Raises AgentctlError."""
        return find_api(api_url=self.api_url, data_dir=self.data_dir)


def find_api(*, api_url: str | None, data_dir: Path | None) -> str:
    """The URL that was named, else that of the node running on `data_dir`.

    Without either, that of the node on the default data directory, else the default URL. Raises AgentctlError when no
    node runs on the directory that was named, or its file cannot be used.
    """
    if api_url:
        return api_url
    path = (data_dir or DEFAULT_DATA_DIR) / UP_FILE
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        found = state["api_url"] if "api_url" in state or "nats_url" not in state else None
    except FileNotFoundError as error:
        if data_dir is None:
            return DEFAULT_API_URL
        raise AgentctlError(
            f"no node runs on {data_dir}: it has no {UP_FILE}; start `agent-manager up --data-dir {data_dir}`",
            ExitCode.UNREACHABLE,
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unusable(path, f"{type(error).__name__}: {error}") from error
    if found is None:
        raise AgentctlError(
            f"the node on {path.parent} runs without an API of its own (`agent-manager run`): start `management-api` "
            f"on its NATS server {state['nats_url']}, and name it with --api-url or AGENT_MANAGER_API_URL",
            ExitCode.UNREACHABLE,
        )
    if not isinstance(found, str):
        raise _unusable(path, f"api_url is {found!r}")
    return found


def _unusable(path: Path, why: str) -> AgentctlError:
    return AgentctlError(
        f"{path} does not say where the API is ({why}); name it with --api-url, or start `agent-manager up` again",
        ExitCode.FAILED,
    )
