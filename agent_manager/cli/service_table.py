"""The launcher's service table: which programs a node runs, with which environment, in which order."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from agent_manager.adapters.installation import Installation
from agent_manager.adapters.nats.embedded import EmbeddedNats
from agent_manager.configuration.nats import NatsSettings
from agent_manager.configuration.tree import keys_of
from agent_manager.settings.manager import MANAGER, ManagerSettings, NodeIds
from management_api.settings import API
from management_api.settings import Settings as ApiSettings

LAUNCHER_PROTOCOL = 1
"""The version of the service table written here."""
STATE_FILE = "up.json"
"""Written into the data directory once the node is up: where everything is, and which processes it has."""

LOCK_FILE = "launcher.lock"
"""Held, in the data directory, by the launcher that runs on it."""

SERVICES_FILE = Path("run") / "services.json"
"""The table itself, in the data directory."""
EMBEDDED_VARIABLES = tuple(f"{MANAGER.prefix}_NATS_{name}" for name in ("URL", "CREDS", "SIGNING_KEY", "ACCOUNT"))
"""What the manager is told of a NATS server of the node's own, in the place of settings."""

HANG_TIMEOUT_S = 30.0
"""A manager that answers no ping for so long hangs. Beside a hundred agents that start at once it may take ten seconds
to be given a turn, and has done nothing wrong."""

Variables = dict[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class NodePlan:
    """A node that is prepared. `nats` None: the settings name a server. `api` None: none runs here."""

    settings: ManagerSettings
    given: Variables
    node: Installation
    nats: EmbeddedNats | None
    api: ApiSettings | None

    @property
    def in_foreground(self) -> bool:
        """Whether a person watches it: under `up`, which is where the API runs too."""
        return self.api is not None


def service_table(plan: NodePlan) -> dict[str, Any]:
    """The table as the launcher reads it."""
    data_dir, stop_timeout_s = plan.settings.data_dir, plan.settings.service.stop_timeout_s
    services = [
        *([_console(plan)] if plan.in_foreground else []),
        *([_nats(plan.nats)] if plan.nats is not None else []),
        _manager(plan),
        *([_api(plan, plan.api)] if plan.api is not None else []),
    ]
    return {
        "protocol": LAUNCHER_PROTOCOL,
        "installation": plan.node.tag,
        "lock_file": str(data_dir / LOCK_FILE),
        "log_dir": str(data_dir / "logs" / "services"),
        "state_file": {
            "path": str(data_dir / STATE_FILE),
            "content": _content(plan),
            "pids": [service["name"] for service in services if service["name"] != "console"],
        },
        "stop_timeout_s": stop_timeout_s,
        "hangup": "stop" if plan.in_foreground else "reload",
        "services": services,
    }


def _content(plan: NodePlan) -> dict[str, str]:
    servers = plan.settings.nats.access(os.environ).access.servers if plan.nats is None else (plan.nats.url,)
    content = {"nats_url": ",".join(servers)}
    if plan.nats is not None:
        content["nats_creds"] = str(plan.nats.files.service_credentials)
    elif plan.settings.nats.creds is not None:
        content["nats_creds"] = str(plan.settings.nats.creds)
    if plan.api is not None:
        content["api_url"] = _url(plan.api.service.host, plan.api.service.port)
    if plan.settings.metrics.enabled:
        content["metrics_url"] = f"{_url(plan.settings.metrics.host, plan.settings.metrics.port)}/metrics"
    return content


def _url(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _console(plan: NodePlan) -> dict[str, Any]:
    bus = _bus(plan, "AGENT_MANAGER", str(plan.nats.files.service_credentials)) if plan.nats is not None else {}
    return _service(
        "console", _python("agent_manager.cli.console"), plan.given | bus, {"kind": "none"}, output="inherit"
    )


def _nats(nats: EmbeddedNats) -> dict[str, Any]:
    return _service("nats", nats.argv, {}, {"kind": "tcp", "host": nats.host, "port": nats.port}) | {"kept": True}


def _manager(plan: NodePlan) -> dict[str, Any]:
    environment = plan.given | NodeIds(node_id=plan.node.node_id, cluster_id=plan.node.cluster_id).variables
    if plan.settings.metrics.enabled:
        environment["AGENT_MANAGER_METRICS_PORT"] = str(plan.settings.metrics.port)
    if plan.nats is not None:
        files, account = plan.nats.files, plan.nats.keyring.account.public
        given = (plan.nats.url, str(files.manager_credentials), str(files.signing_key), account)
        environment |= dict(zip(EMBEDDED_VARIABLES, given, strict=True))
    return _service(
        "manager",
        _python("agent_manager.daemon"),
        environment,
        {"kind": "controller", "hang_timeout_s": HANG_TIMEOUT_S, "start_timeout_s": 60.0},
        output="log" if plan.in_foreground else "inherit",
        stop_timeout_s=plan.settings.service.stop_timeout_s,
    ) | {"reload_signal": "SIGHUP", "prepare": list(_python("agent_manager.cli.preparation"))}


def _api(plan: NodePlan, api: ApiSettings) -> dict[str, Any]:
    host, port = api.service.host, api.service.port
    environment = {
        f"{API.prefix}_SERVICE_HOST": host,
        f"{API.prefix}_SERVICE_PORT": str(port),
    }
    if level := plan.given.get(f"{MANAGER.prefix}_SERVICE_LOG_LEVEL"):
        # The flag is meant for the whole node; what a file says of the manager's log is not.
        environment[f"{API.prefix}_SERVICE_LOG_LEVEL"] = level
    if plan.nats is not None:
        environment |= _bus(plan, API.prefix, str(plan.nats.files.api_credentials))
    elif not api.nats.is_external:
        environment |= _same_access(plan.settings.nats)
    return _service("api", _python("management_api"), environment, {"kind": "tcp", "host": host, "port": port})


def _bus(plan: NodePlan, prefix: str, credentials: str) -> Variables:
    assert plan.nats is not None
    return {f"{prefix}_NATS_URL": plan.nats.url, f"{prefix}_NATS_CREDS": credentials}


def _same_access(nats: NatsSettings) -> Variables:
    """The API of a node that says nothing of its own reaches the bus as the manager does."""
    variables = {}
    for key in keys_of(NatsSettings):
        value = key.value_in(nats)
        if value is not None and value != key.info.default:
            text = value.get_secret_value() if isinstance(value, SecretStr) else value
            variables[f"{API.prefix}_NATS_{key.path[-1].upper()}"] = (
                ",".join(text) if isinstance(text, tuple) else str(text)
            )
    return variables


def _python(module: str) -> tuple[str, ...]:
    # -P keeps the working directory off the module path: a json.py there would shadow the library's.
    return (sys.executable, "-P", "-m", module)


def _service(
    name: str,
    argv: tuple[str, ...],
    settings: Mapping[str, str],
    ready: Mapping[str, Any],
    *,
    output: str = "log",
    stop_timeout_s: float = 10.0,
) -> dict[str, Any]:
    return {
        "name": name,
        "argv": list(argv),
        "env": {**os.environ, **settings},
        "cwd": os.getcwd(),
        "output": output,
        "ready": dict(ready),
        "stop_signal": "SIGTERM",
        "stop_timeout_s": stop_timeout_s,
    }
