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
        """The URL that was named, else that of the node running on `data_dir`.

        Without either, that of the node on the default data directory, else the default URL. Raises AgentctlError
        when no node runs on the directory that was named, it has no API, or its file cannot be used.
        """
        if self.api_url:
            return self.api_url
        path = (self.data_dir or DEFAULT_DATA_DIR) / UP_FILE
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
            if "api_url" not in state and "nats_url" in state:
                raise _without_api(path, state["nats_url"])
            found = state["api_url"]
        except FileNotFoundError as error:
            if self.data_dir is None:
                return DEFAULT_API_URL
            raise AgentctlError(
                f"no node runs on {self.data_dir}: it has no {UP_FILE}; "
                f"start `agent-manager up --data-dir {self.data_dir}`",
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


def _without_api(path: Path, nats_url: str) -> AgentctlError:
    return AgentctlError(
        f"the node on {path.parent} runs without an API of its own (`agent-manager run`): start `management-api` on "
        f"its NATS server {nats_url}, and name it with --api-url or AGENT_MANAGER_API_URL",
        ExitCode.UNREACHABLE,
    )
