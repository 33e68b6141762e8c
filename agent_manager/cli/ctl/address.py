"""Where the API is."""

from __future__ import annotations

import json
from pathlib import Path

from agent_manager.cli.ctl.failures import AgentctlError, ExitCode

DEFAULT_API_URL = "http://127.0.0.1:8000"
UP_FILE = "up.json"
"""Written into the data directory by `agent-manager up`; its `api_url` says where the API listens."""


def find_api(*, api_url: str | None, data_dir: Path) -> str:
    """The URL that was named, else that of the node running on `data_dir`, else the default.

    Raises AgentctlError when the node's file is there and cannot be used.
    """
    if api_url:
        return api_url
    path = data_dir / UP_FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["api_url"]
    except FileNotFoundError:
        return DEFAULT_API_URL
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unusable(path, f"{type(error).__name__}: {error}") from error
    if not isinstance(found, str):
        raise _unusable(path, f"api_url is {found!r}")
    return found


def _unusable(path: Path, why: str) -> AgentctlError:
    return AgentctlError(
        f"{path} does not say where the API is ({why}); name it with --api-url, or start `agent-manager up` again",
        ExitCode.FAILED,
    )
