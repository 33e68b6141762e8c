"""The service table: what `agent-manager up` wants a launcher to run. Read once, strictly."""

import json
import signal
import socket
from collections import Counter
from dataclasses import dataclass
from typing import Any

from agent_manager.launcher.fields import (
    Expected,
    FieldError,
    Fields,
    absolute_path,
    argv,
    count,
    environment,
    name,
    one_of,
    positive,
    signal_name,
    text,
    truth,
)

PROTOCOL = 1
"""Version of the table, and of the frames between launcher and manager."""

_PORT_LIMIT = 65536


class TableError(Exception):
    """The service table cannot be used; the message says which file, key and value, and what is expected."""


@dataclass(frozen=True, slots=True)
class TcpReady:
    """Ready once the port accepts a connection. `host` is a numeric address: looking up a name would block."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class ControllerReady:
    """The service is the controller: ready when it says so, and replaced when it does not answer pings."""

    hang_timeout_s: float
    start_timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A process the launcher keeps running.

    `ready` is None if it counts as ready once started, `reload_signal` if it does not read its configuration again.
    `kept`: it runs on when the launcher gives its place to another version. `prepare` is run, in the environment of the
    service, before that, and keeps the present version in its place if it fails.
    """

    name: str
    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    output: str
    ready: TcpReady | ControllerReady | None
    stop_signal: signal.Signals
    stop_timeout_s: float
    reload_signal: signal.Signals | None = None
    kept: bool = False
    prepare: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class StateFile:
    """What to write, and where, once everything is ready: `content` and the pids of the services named."""

    path: str
    content: dict[str, Any]
    pids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceTable:
    """Everything a launcher is told. `hangup` says what SIGHUP means: `stop` or `reload`.

    `cgroups`: launches get one each, where that is possible.
    """

    installation: str
    lock_file: str
    log_dir: str
    state_file: StateFile
    stop_timeout_s: float
    services: tuple[Service, ...]
    hangup: str = "stop"
    cgroups: bool = True


def load(path: str) -> ServiceTable:
    """Read a service table. Raises TableError."""
    try:
        with open(path, encoding="utf-8") as file:
            return _table(Fields(json.load(file)))
    except OSError as error:
        raise TableError(f"service table {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise TableError(f"service table {path} is not JSON: {error}") from error
    except FieldError as error:
        raise TableError(f"service table {path}: {error}") from error


def _table(fields: Fields) -> ServiceTable:
    fields.only(
        *(
            "protocol",
            "installation",
            "lock_file",
            "log_dir",
            "state_file",
            "stop_timeout_s",
            "hangup",
            "cgroups",
            "services",
        )
    )
    fields.get("protocol", _this_protocol)
    services = tuple(_service(service) for service in fields.objects("services"))
    table = ServiceTable(
        installation=fields.get("installation", name),
        lock_file=fields.get("lock_file", absolute_path),
        log_dir=fields.get("log_dir", absolute_path),
        state_file=_state_file(fields.object("state_file")),
        stop_timeout_s=fields.get("stop_timeout_s", positive),
        services=services,
        hangup=fields.optional("hangup", one_of("stop", "reload")) or "stop",
        cgroups=fields.get("cgroups", truth) if fields.has("cgroups") else True,
    )
    _check_consistency(table)
    return table


def _check_consistency(table: ServiceTable) -> None:
    names = [service.name for service in table.services]
    if repeated := [key for key, times in Counter(names).items() if times > 1]:
        raise FieldError(f"services: {repeated[0]!r} is there more than once")
    if unknown := [key for key in table.state_file.pids if key not in names]:
        raise FieldError(f"state_file.pids: {unknown[0]!r}: expected the name of a service, one of {names}")
    controllers = [service.name for service in table.services if isinstance(service.ready, ControllerReady)]
    if len(controllers) > 1:
        raise FieldError(f"services: {controllers} are controllers: expected at most one")


def _service(fields: Fields) -> Service:
    fields.only(
        *("name", "argv", "env", "cwd", "output", "ready", "stop_signal", "stop_timeout_s", "reload_signal", "kept"),
        "prepare",
    )
    return Service(
        name=fields.get("name", _file_name),
        argv=fields.get("argv", argv),
        env=fields.get("env", environment),
        cwd=fields.get("cwd", absolute_path),
        output=fields.get("output", one_of("log", "inherit")),
        ready=_ready(fields.object("ready")),
        stop_signal=fields.get("stop_signal", signal_name),
        stop_timeout_s=fields.get("stop_timeout_s", positive),
        reload_signal=fields.optional("reload_signal", signal_name),
        prepare=fields.optional("prepare", argv),
        kept=fields.get("kept", truth) if fields.has("kept") else False,
    )


def _ready(fields: Fields) -> TcpReady | ControllerReady | None:
    match fields.get("kind", one_of("none", "tcp", "controller")):
        case "tcp":
            fields.only("kind", "host", "port")
            return TcpReady(fields.get("host", _numeric_address), fields.get("port", _port))
        case "controller":
            fields.only("kind", "hang_timeout_s", "start_timeout_s")
            return ControllerReady(fields.get("hang_timeout_s", positive), fields.get("start_timeout_s", positive))
        case _:
            fields.only("kind")
            return None


def _state_file(fields: Fields) -> StateFile:
    fields.only("path", "content", "pids")
    return StateFile(
        path=fields.get("path", absolute_path),
        content=fields.get("content", _object),
        pids=fields.get("pids", _names),
    )


def _this_protocol(value: object) -> None:
    if value != PROTOCOL:
        raise Expected(f"{PROTOCOL}, the protocol of this launcher")


def _file_name(value: object) -> str:
    if "/" in (result := name(value)):
        raise Expected("a name without '/'")
    return result


def _numeric_address(value: object) -> str:
    host = text(value)
    try:
        socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except OSError:
        raise Expected("a numeric IP address") from None
    return host


def _port(value: object) -> int:
    if (result := count(value)) < _PORT_LIMIT:
        return result
    raise Expected("a port number")


def _object(value: object) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise Expected("an object")


def _names(value: object) -> tuple[str, ...]:
    if isinstance(value, list):
        return tuple(name(item) for item in value)
    raise Expected("a list of names")
