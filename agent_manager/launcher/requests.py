"""What a manager may ask for, as values that have been checked."""

import json
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
    natural,
    naturals,
    number,
    one_of,
    positive,
    signal_name,
    texts,
    truth,
    whole,
)
from agent_manager.launcher.frames import Message
from agent_manager.launcher.limits import UNLIMITED, Limits, User
from agent_manager.launcher.rotating_file import LogFile
from agent_manager.launcher.slots import RequestError
from agent_manager.launcher.zygotes import Warmth

_INTERPRETER_AND_SCRIPT = 2

METADATA_LIMIT_BYTES = 256 * 1024
"""What one slot may carry: the metadata of all slots has to fit into one `hello`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spawn:
    """Start a launch in a slot whose present launch is `expected_launch_id`.

    With `zygote`, `argv` is a Python interpreter and a script, which may be run by a fork of one.
    """

    slot: str
    launch_id: str
    expected_launch_id: str | None
    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    out: LogFile
    err: LogFile
    metadata: Any
    not_after: float | None
    zygote: Warmth | None
    limits: Limits = UNLIMITED
    user: User | None = None
    no_new_privileges: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """Replace what a slot carries; only the fields named in `changes`: `metadata`, `not_after`."""

    slot: str
    launch_id: str
    changes: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """Signal a launch's main process, or all of its tree."""

    slot: str
    launch_id: str
    signal: int
    whole_tree: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """The exit of a launch is recorded."""

    slot: str
    launch_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Forget a slot."""

    slot: str


@dataclass(frozen=True, slots=True)
class Expect:
    """Launches of this zygote may be asked for: have it there."""

    zygote: Warmth


@dataclass(frozen=True, slots=True)
class Ready:
    """The service that is the controller is ready."""


Request = Spawn | Update | Signal | Ack | Release | Expect | Ready


def parse(message: Message) -> Request:
    """The request in a message. Raises RequestError `invalid`, which says which field is wrong."""
    try:
        return _parse(Fields(message))
    except FieldError as error:
        raise RequestError("invalid", str(error)) from error


def _parse(fields: Fields) -> Request:
    match fields.get("type", one_of("spawn", "update", "signal", "ack", "release", "expect", "ready")):
        case "spawn":
            return _spawn(fields)
        case "update":
            return _update(fields)
        case "signal":
            scope = fields.get("scope", one_of("process", "tree"))
            return Signal(**_launch(fields), signal=fields.get("signal", signal_name), whole_tree=scope == "tree")
        case "ack":
            return Ack(**_launch(fields))
        case "release":
            return Release(slot=fields.get("slot", name))
        case "expect":
            return Expect(_warmth(fields.get("python", name), fields.object("zygote")))
        case _:
            return Ready()


def _launch(fields: Fields) -> dict[str, str]:
    return {"slot": fields.get("slot", name), "launch_id": fields.get("launch_id", name)}


def _spawn(fields: Fields) -> Spawn:
    output = fields.object("output")
    command = fields.get("argv", argv)
    return Spawn(
        **_launch(fields),
        expected_launch_id=fields.optional("expected_launch_id", name),
        argv=command,
        env=fields.get("env", environment),
        cwd=fields.get("cwd", absolute_path),
        out=_log_file(output.object("out")),
        err=_log_file(output.object("err")),
        metadata=fields.optional("metadata", _metadata),
        not_after=fields.optional("not_after", number),
        zygote=_zygote_of_spawn(command, fields.object("zygote")) if fields.has("zygote") else None,
        limits=_limits(fields.object("limits")) if fields.has("limits") else UNLIMITED,
        user=_user(fields.object("user")) if fields.has("user") else None,
        no_new_privileges=fields.optional("no_new_privileges", truth) or False,
    )


def _limits(fields: Fields) -> Limits:
    return Limits(
        memory_bytes=fields.optional("memory_bytes", count),
        cpu=fields.optional("cpu", positive),
        processes=fields.optional("processes", count),
        open_files=fields.optional("open_files", count),
        cpu_seconds=fields.optional("cpu_seconds", count),
        nice=fields.optional("nice", whole),
    )


def _user(fields: Fields) -> User:
    return User(uid=fields.get("uid", natural), gid=fields.get("gid", natural), groups=fields.get("groups", naturals))


def _zygote_of_spawn(command: tuple[str, ...], fields: Fields) -> Warmth:
    if len(command) < _INTERPRETER_AND_SCRIPT:
        raise FieldError(f"zygote: argv has {len(command)} element: expected an interpreter and a script")
    return _warmth(command[0], fields)


def _warmth(python: str, fields: Fields) -> Warmth:
    environ = frozenset(fields.get("env", environment).items())
    return Warmth(python=python, env=environ, preload=fields.get("preload", texts))


def _update(fields: Fields) -> Update:
    changes: dict[str, Any] = {}
    for key, parse_value in (("metadata", _metadata), ("not_after", number)):
        if key in fields:
            changes[key] = fields.optional(key, parse_value)
    return Update(**_launch(fields), changes=changes)


def _log_file(fields: Fields) -> LogFile:
    return LogFile(fields.get("path", absolute_path), fields.get("max_bytes", count), fields.get("files", count))


def _metadata(value: object) -> object:
    try:
        size = len(
            json.dumps([[[[[[[[value]]]]]]]], separators=(",", ":"))
        )  # a `hello` nests it a little deeper than a request does
    except RecursionError:
        raise Expected("JSON that is nested less deeply") from None
    if size > METADATA_LIMIT_BYTES:
        raise Expected(f"at most {METADATA_LIMIT_BYTES} bytes of JSON, not {size}")
    return value
