"""`agent-manager up`: prepares everything that needs libraries or decisions, then becomes the launcher."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from agent_manager.adapters import installation
from agent_manager.adapters.nats import embedded
from agent_manager.adapters.nats.embedded import EmbeddedNats
from agent_manager.adapters.nats.private_files import make_private_directory, write_private
from agent_manager.adapters.sql.migration import migrate
from agent_manager.domain.errors import ConflictError, InvalidRequestError, UnavailableError

LAUNCHER_PROTOCOL = 1
"""The version of the service table written here."""
AGENTS_STOP_TIMEOUT_S = 90.0
"""How long all agents together may take to stop before the launcher ends them."""
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


@dataclass(frozen=True, kw_only=True, slots=True)
class UpOptions:
    """What may be chosen. Paths are absolute; port 0 means any free one."""

    data_dir: Path
    packages_dir: Path
    host: str
    port: int
    nats_port: int
    log_level: str


class DataDirectoryError(UnavailableError):
    """The data directory cannot be made, read or written."""


class AlreadyRunningError(ConflictError):
    """Another node uses the data directory."""


def up(options: UpOptions) -> None:
    """Prepare, then replace this process by the launcher; returns never.

    Raises AgentManagerError with what is wrong and how to mend it.
    """
    options = _checked(options)
    try:
        make_private_directory(options.data_dir)
        with _only_one(options.data_dir):
            table = _prepare(options)
            path = options.data_dir / "run" / "services.json"
            write_private(path, json.dumps(table, indent=2))
    except OSError as error:
        raise DataDirectoryError(
            f"the data directory {options.data_dir} cannot be used: {error}; name another with --data-dir"
        ) from error
    # A Ctrl-C that comes while the launcher gets ready waits until it can be heeded.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    try:
        os.execv(sys.executable, [sys.executable, "-P", "-m", "agent_manager.launcher", "--table", str(path)])
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _checked(options: UpOptions) -> UpOptions:
    """The options, with the host as a number: that is what the launcher asks whether a service listens."""
    host = "127.0.0.1" if options.host == "localhost" else options.host
    try:
        loopback = ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise InvalidRequestError(
            f"--host {options.host} is not a loopback address; there is no authentication yet, so only 127.0.0.1, ::1 "
            "and localhost are possible"
        )
    if options.log_level not in LOG_LEVELS:
        raise InvalidRequestError(f"--log-level {options.log_level} is not one of {', '.join(LOG_LEVELS)}")
    if options.port == options.nats_port != 0:
        raise InvalidRequestError(
            f"--port and --nats-port are both {options.port}; API and NATS server need a port each"
        )
    if not options.packages_dir.is_dir():
        raise InvalidRequestError(
            f"the packages folder {options.packages_dir} does not exist; make it, or name another with --packages"
        )
    for flag, path in (("--data-dir", options.data_dir), ("--packages", options.packages_dir)):
        _check_path(flag, path)
    return replace(options, host=host)


def _check_path(flag: str, path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise InvalidRequestError(
            f"{flag} {str(path)!r} is not UTF-8, as whatever travels over the bus must be; name another path"
        ) from error
    if "?" in str(path):
        raise InvalidRequestError(
            f"{flag} {str(path)!r} has a question mark, which ends a database's path; name another"
        )


@contextmanager
def _only_one(data_dir: Path) -> Iterator[None]:
    """Hold the launcher's lock while files are prepared, so that a node that runs on them is not disturbed."""
    descriptor = os.open(data_dir / "launcher.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise AlreadyRunningError(
            f"a node is already running on {data_dir}; stop it, or give this one a --data-dir of its own"
        ) from error
    try:
        yield
    finally:
        os.close(descriptor)


def _prepare(options: UpOptions) -> dict[str, Any]:
    data_dir = options.data_dir
    node = installation.load_or_create(data_dir)
    nats_port = options.nats_port or _free_port(options.host)
    nats = embedded.prepare(data_dir=data_dir, host=options.host, port=nats_port, now=time.time())
    port = options.port or _free_port(options.host)
    embedded.check_port_free(options.host, port, listener="the management API", flag="--port")
    database_url = f"sqlite:///{data_dir / installation.DATABASE}"
    migrate(database_url)
    (data_dir / "up.json").unlink(missing_ok=True)
    return _service_table(options, node, nats, database_url, port)


def _free_port(host: str) -> int:
    try:
        return embedded.free_port(host)
    except OSError as error:
        raise InvalidRequestError(f"--host {host} is not an address of this machine: {error}") from error


def _service_table(
    options: UpOptions, node: installation.Installation, nats: EmbeddedNats, database_url: str, port: int
) -> dict[str, Any]:
    data_dir = options.data_dir
    host = f"[{options.host}]" if ":" in options.host else options.host
    content = {
        "api_url": f"http://{host}:{port}",
        "nats_url": nats.url,
        "nats_creds": str(nats.files.service_credentials),
    }
    state_file = data_dir / "up.json"
    console = {
        "AGENT_MANAGER_STATE_FILE": str(state_file),
        "AGENT_MANAGER_NATS_URL": nats.url,
        "AGENT_MANAGER_NATS_CREDS": str(nats.files.service_credentials),
        "AGENT_MANAGER_DATA_DIR": str(data_dir),
        "AGENT_MANAGER_PACKAGES_DIR": str(options.packages_dir),
    }
    manager = {
        "AGENT_MANAGER_DATA_DIR": str(data_dir),
        "AGENT_MANAGER_PACKAGES_DIR": str(options.packages_dir),
        "AGENT_MANAGER_NATS_URL": nats.url,
        "AGENT_MANAGER_DATABASE_URL": database_url,
        "AGENT_MANAGER_NODE_ID": node.node_id,
        "AGENT_MANAGER_CLUSTER_ID": node.cluster_id,
        "AGENT_MANAGER_LOG_LEVEL": options.log_level,
    }
    api = {
        "MANAGEMENT_API_HOST": options.host,
        "MANAGEMENT_API_PORT": str(port),
        "MANAGEMENT_API_NATS_URL": nats.url,
        "MANAGEMENT_API_NATS_CREDS": str(nats.files.api_credentials),
        "MANAGEMENT_API_LOG_LEVEL": options.log_level.lower(),
    }
    listens = {"kind": "tcp", "host": options.host}
    controls = {"kind": "controller", "hang_timeout_s": 10.0, "start_timeout_s": 60.0}
    return {
        "protocol": LAUNCHER_PROTOCOL,
        "installation": node.tag,
        "lock_file": str(data_dir / "launcher.lock"),
        "log_dir": str(data_dir / "logs" / "services"),
        "state_file": {"path": str(state_file), "content": content, "pids": ["manager", "api", "nats"]},
        "stop_timeout_s": AGENTS_STOP_TIMEOUT_S,
        "services": [
            _service("console", _python("agent_manager.cli.console"), console, {"kind": "none"}, output="inherit"),
            _service("nats", nats.argv, {}, {**listens, "port": nats.port}),
            _service(
                "manager", _python("agent_manager.daemon"), manager, controls, stop_timeout_s=AGENTS_STOP_TIMEOUT_S
            ),
            _service("api", _python("management_api"), api, {**listens, "port": port}),
        ],
    }


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
