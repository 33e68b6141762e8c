"""Where the API is."""

from __future__ import annotations

import json
from pathlib import Path

from agent_manager.cli.ctl.failures import AgentctlError, ExitCode

DEFAULT_API_URL = "http://127.0.0.1:8000"
UP_FILE = "up.json"
"""Written into the data directory by `agent-manager up`; its `api_url` says where the API listens."""


DEFAULT_DATA_DIR = Path(".agent-manager")


def find_api(*, api_url: str | None, data_dir: Path | None) -> str:
    """The URL that was named, else that of the node running on `data_dir`.

    Without either, that of the node on the default data directory, else the default URL. Raises AgentctlError when no
    node runs on the directory that was named, or its file cannot be used.
    """
    if api_url:
        return api_url
    path = (data_dir or DEFAULT_DATA_DIR) / UP_FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["api_url"]
    except FileNotFoundError as error:
        if data_dir is None:
            return DEFAULT_API_URL
        raise AgentctlError(
            f"no node runs on {data_dir}: it has no {UP_FILE}; start `agent-manager up --data-dir {data_dir}`",
            ExitCode.UNREACHABLE,
        ) from error
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
