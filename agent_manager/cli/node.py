"""`agent-manager up` and `run`: prepare everything that needs libraries or decisions, then become the launcher."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent_manager.adapters import installation
from agent_manager.adapters.nats import embedded
from agent_manager.adapters.nats.private_files import make_private_directory, write_private
from agent_manager.adapters.packages.folder_source import PACKAGES_DEVICE
from agent_manager.adapters.sql.migration import migrate
from agent_manager.adapters.sql.postgres_failures import OutOfReachError
from agent_manager.cli.service_table import LOCK_FILE, SERVICES_FILE, STATE_FILE, NodePlan, service_table
from agent_manager.configuration.loading import ConfigurationError
from agent_manager.configuration.nats import NatsSettings
from agent_manager.domain.errors import ConflictError, InvalidRequestError, UnavailableError
from agent_manager.nats_access.errors import AccessError
from agent_manager.settings.manager import ManagerSettings
from management_api.settings import Settings as ApiSettings

Variables = dict[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeOptions:
    """What may be chosen of a node. `given` are flags as variables, for the manager: they win there too.

    `api` None: no API runs here. `nats_port` is that of the embedded server, 0 any free one; there is none where the
    settings name a server.
    """

    settings: ManagerSettings
    api: ApiSettings | None
    nats_port: int
    given: Variables


class DataDirectoryError(UnavailableError):
    """The data directory cannot be made, read or written."""


class AlreadyRunningError(ConflictError):
    """Another node uses the data directory."""


def become_node(options: NodeOptions) -> None:
    """Prepare, then replace this process by the launcher; returns never.

    Raises AgentManagerError or ConfigurationError with what is wrong and how to mend it.
    """
    _check(options)
    data_dir = options.settings.data_dir
    try:
        _make(data_dir)
        with _only_one(data_dir):
            table = service_table(_prepared(options))
            path = data_dir / SERVICES_FILE
            make_private_directory(path.parent)
            write_private(path, json.dumps(table, indent=2))
    except OSError as error:
        raise DataDirectoryError(
            f"the data directory {data_dir} cannot be used: {error}; name another with --data-dir"
        ) from error
    # A Ctrl-C that comes while the launcher gets ready waits until it can be heeded.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    try:
        os.execv(sys.executable, [sys.executable, "-P", "-m", "agent_manager.launcher", "--table", str(path)])
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _check(options: NodeOptions) -> None:
    settings = options.settings
    _check_bus(settings.nats)
    _check_ports(options)
    if not settings.packages_dir.is_dir():
        raise InvalidRequestError(
            f"the packages folder {settings.packages_dir} does not exist; make it, or name another with --packages"
        )
    for flag, path in (("--data-dir", settings.data_dir), ("--packages", settings.packages_dir)):
        _check_path(flag, path)


def _check_ports(options: NodeOptions) -> None:
    """Raises InvalidRequestError where two that listen are to have the same port. 0 is any."""
    settings, api = options.settings, options.api
    chosen = {
        "--port": api.service.port if api is not None else 0,
        "--nats-port": 0 if settings.nats.is_external else options.nats_port,
        "metrics.port": settings.metrics.port if settings.metrics.enabled else 0,
    }
    names: dict[int, str] = {}
    for name, port in chosen.items():
        if port and port in names:
            raise InvalidRequestError(f"{names[port]} and {name} are both {port}; who listens needs a port each")
        names[port] = name


def _check_bus(nats: NatsSettings) -> None:
    """What the settings alone cannot tell: whether the context is there and can be used. Raises ConfigurationError."""
    try:
        nats.access(os.environ)
    except AccessError as error:
        raise ConfigurationError((error.message,)) from error


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


def _make(data_dir: Path) -> None:
    try:
        make_private_directory(data_dir)
    except (FileExistsError, NotADirectoryError) as error:
        obstacle = next((each for each in (data_dir, *data_dir.parents) if os.path.lexists(each)), data_dir)
        kind = "a file, not a directory" if obstacle.is_file() else "not a directory"
        what = f"the data directory {data_dir}" if obstacle == data_dir else f"{obstacle}, above the data directory,"
        raise DataDirectoryError(f"{what} is {kind}; name another with --data-dir") from error


@contextmanager
def _only_one(data_dir: Path) -> Iterator[None]:
    """Hold the launcher's lock while files are prepared, so that a node that runs on them is not disturbed."""
    descriptor = os.open(data_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
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


def _prepared(options: NodeOptions) -> NodePlan:
    settings, api = options.settings, options.api
    data_dir = settings.data_dir
    # One that was killed has left it, with process ids that may be anybody's.
    (data_dir / STATE_FILE).unlink(missing_ok=True)
    node = installation.load_or_create(data_dir)
    nats, taken = None, set[int]()
    if not settings.nats.is_external:
        host = _numeric(api.service.host) if api is not None else "127.0.0.1"
        port = options.nats_port or _free_port(host)
        lifetime_s = settings.nats.credentials_lifetime_s
        nats = embedded.prepare(data_dir=data_dir, host=host, port=port, now=time.time(), lifetime_s=lifetime_s)
        taken.add(port)
    if api is not None:
        api = _with_address(api, taken)
        taken.add(api.service.port)
    if settings.metrics.enabled:
        settings = _with_metrics_port(settings, taken)
    _migrate(settings.database_url)
    for kind in ("services", "agents"):
        # The log pump makes them as well, and only counts what is lost where it cannot.
        (data_dir / "logs" / kind).mkdir(parents=True, exist_ok=True)
    (data_dir / "run" / PACKAGES_DEVICE).unlink(missing_ok=True)
    return NodePlan(settings=settings, given=options.given, node=node, nats=nats, api=api)


def _migrate(database_url: str) -> None:
    try:
        migrate(database_url)
    except OutOfReachError as error:
        # A machine that comes up before its database does must not need a hand: the manager waits for it.
        print(
            f"agent-manager: {error.message}\nagent-manager: starting without it; commands are refused until it is "
            "there, and agents known to this node are supervised meanwhile",
            file=sys.stderr,
        )


def _with_address(api: ApiSettings, taken: Collection[int]) -> ApiSettings:
    """The API's settings with the host as a number, which is what the launcher asks, and a port that is free."""
    host = _numeric(api.service.host)
    port = api.service.port or _free_port(host, taken)
    embedded.check_port_free(host, port, listener="the management API", flag="--port")
    return api.model_copy(update={"service": api.service.model_copy(update={"host": host, "port": port})})


def _with_metrics_port(settings: ManagerSettings, taken: Collection[int]) -> ManagerSettings:
    """The settings with the port of the manager's metrics: one that is free, and the same for every next manager."""
    metrics = settings.metrics
    port = metrics.port or _free_port(_numeric(metrics.host), taken)
    embedded.check_port_free(
        _numeric(metrics.host), port, listener="GET /metrics of the manager", flag="metrics.port or --metrics-port"
    )
    return settings.model_copy(update={"metrics": metrics.model_copy(update={"port": port})})


def _numeric(host: str) -> str:
    return "127.0.0.1" if host == "localhost" else host


def _free_port(host: str, taken: Collection[int] = ()) -> int:
    """A port that is free and not in `taken`, where nobody listens yet either."""
    try:
        port = embedded.free_port(host)
        while port in taken:
            port = embedded.free_port(host)
    except OSError as error:
        raise InvalidRequestError(f"{host} is not an address of this machine to listen on: {error}") from error
    return port
