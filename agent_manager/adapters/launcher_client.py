"""The manager's end of the launcher's protocol (`docs/launcher.md`): length-prefixed JSON over an inherited socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import struct
from collections.abc import Callable, Collection, Iterator
from typing import Any

from agent_manager.adapters import start_failures
from agent_manager.adapters.codec import INSTANCE, UnreadableError
from agent_manager.adapters.launch_recipe import LaunchRecipe, ZygoteStart
from agent_manager.adapters.users import SystemUser
from agent_manager.domain.exits import LastLines, ProcessExit
from agent_manager.domain.instances import Instance
from agent_manager.domain.specification import AgentSpec, ResourceLimits
from agent_manager.ports.launcher import (
    LaunchEmptied,
    LauncherError,
    LauncherEvent,
    LaunchExited,
    ShutdownRequested,
    Slot,
    SlotState,
    SpawnFailedError,
)

PROTOCOL = 1
"""The version of the launcher's protocol this client speaks."""

_LENGTH = struct.Struct("!I")
_MAX_FRAME = 64 * 1024 * 1024
_MB = 1_000_000
_LIMITS_BY_CONTROLLER = {"memory": "memory_mb", "cpu": "cpu", "pids": "processes"}

log = logging.getLogger(__name__)


class LauncherClient:
    """Implements `ports.launcher.Launcher` over one end of a socketpair."""

    def __init__(self, descriptor: int, recipe: LaunchRecipe) -> None:
        self._descriptor = descriptor
        self._recipe = recipe
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._replies: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._last_id = 0
        self._over = False
        self._may_expect = False
        self.launcher_pid = 0

    @property
    def connected(self) -> bool:
        """Whether the launcher can be spoken to."""
        return self._writer is not None and not self._writer.is_closing()

    async def connect(self) -> tuple[Slot, ...]:
        """Take over; see the port. Raises LauncherError when the launcher speaks another protocol, or is gone."""
        connection = socket.socket(fileno=self._descriptor)
        connection.setblocking(False)
        self._reader, self._writer = await asyncio.open_unix_connection(sock=connection, limit=_MAX_FRAME)
        with _understanding():
            hello = await self._read_frame(self._reader)
            if hello["type"] != "hello" or hello["protocol"] != PROTOCOL:
                raise LauncherError(f"the launcher speaks protocol {hello['protocol']!r}, this manager {PROTOCOL}")
            self.launcher_pid = int(hello["launcher_pid"])
            self._may_expect = "expect" in hello.get("understands", ())
            _tell_of_limits(hello.get("cgroup_controllers"))
            return tuple(_slot(entry) for entry in hello["slots"])

    async def run(self, on_event: Callable[[LauncherEvent], None]) -> None:
        """Deliver events and replies until `close`. Raises LauncherError when the launcher closes the connection."""
        if self._reader is None or self._writer is None:
            raise LauncherError("not connected")
        try:
            while True:
                with _understanding():
                    frame = await self._read_frame(self._reader)
                    event = self._heard(frame)
                if event is not None:
                    on_event(event)
        except LauncherError:
            if not self._over:
                raise
        finally:
            self._writer.close()
            self._fail_open_requests()

    async def close(self) -> None:
        """Close the connection."""
        self._over = True
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()

    async def spawn(self, instance: Instance, expected_launch_id: str | None, credentials: str) -> tuple[int, float]:
        """See the port."""
        if instance.launch is None:
            raise LauncherError(f"{instance.id} has no launch to start")
        start = self._recipe.prepare(instance, instance.launch, credentials)
        frame = {
            "type": "spawn",
            "slot": instance.id,
            "launch_id": instance.launch.launch_id,
            "expected_launch_id": expected_launch_id,
            "argv": list(start.argv),
            "env": dict(start.environment),
            "cwd": start.working_directory,
            "output": {
                stream: {"path": path, "max_bytes": start.logs.max_bytes, "files": start.logs.files}
                for stream, path in start.output.items()
            },
            "zygote": _zygote(start.zygote),
            "limits": _limits(start.limits),
            "user": _user(start.user),
            "no_new_privileges": start.no_new_privileges,
        }
        try:
            result = await self._request(frame, instance)
        except SpawnFailedError as error:
            # Files may be slow.
            raise SpawnFailedError(await asyncio.to_thread(start_failures.explained, str(error), start)) from error
        return int(result["pid"]), float(result["started_at"])

    def expect(self, spec: AgentSpec) -> None:
        """See the port: the zygote of all packages that bring nothing of their own is started, once."""
        if not self._may_expect:
            return
        zygote = self._recipe.shared_zygote(spec)
        if zygote is not None:
            self._may_expect = False
            self._post("expect", python=self._recipe.python, zygote=_zygote(zygote))

    def update(self, instance: Instance) -> None:
        """See the port."""
        if instance.held is not None:
            self._post("update", instance, slot=instance.id, launch_id=instance.held)

    def signal(self, instance_id: str, launch_id: str, signal: str) -> None:
        """See the port."""
        self._post("signal", slot=instance_id, launch_id=launch_id, signal=signal, scope="tree")

    def acknowledge(self, instance_id: str, launch_id: str) -> None:
        """See the port."""
        self._post("ack", slot=instance_id, launch_id=launch_id)

    def release(self, instance_id: str) -> None:
        """See the port."""
        self._post("release", slot=instance_id)

    def ready(self) -> None:
        """See the port."""
        self._post("ready")

    # ---------------------------------------------------------------- frames

    async def _read_frame(self, reader: asyncio.StreamReader) -> dict[str, Any]:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        frame: dict[str, Any] = json.loads(await reader.readexactly(length))
        return frame

    def _send(self, frame: dict[str, Any], metadata: Instance | None = None) -> None:
        if self._writer is None or self._writer.is_closing():
            raise LauncherError("not connected to the launcher")
        text = json.dumps(frame, separators=(",", ":"))
        if metadata is not None:
            text = f'{text[:-1]},"metadata":{INSTANCE.text(metadata)}}}'
        body = text.encode()
        self._writer.write(_LENGTH.pack(len(body)) + body)

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    async def _request(self, frame: dict[str, Any], metadata: Instance) -> dict[str, Any]:
        number = self._next_id()
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._replies[number] = future
        try:
            self._send({**frame, "id": number}, metadata)
            return await future
        finally:
            del self._replies[number]

    def _post(self, kind: str, metadata: Instance | None = None, **fields: Any) -> None:
        with contextlib.suppress(LauncherError):
            self._send({"type": kind, "id": self._next_id(), **fields}, metadata)

    def _heard(self, frame: dict[str, Any]) -> LauncherEvent | None:
        """What a frame tells the manager; None where it concerns only this client, and for what it does not know."""
        match frame["type"]:
            case "reply":
                self._settle(frame)
            case "ping":
                self._send({"type": "pong", "number": frame["number"]})
            case "exited" | "drained":
                exit_ = frame["exit"]
                return LaunchExited(instance_id=exit_["slot"], exit=_process_exit(exit_))
            case "empty":
                return LaunchEmptied(instance_id=frame["slot"], launch_id=frame["launch_id"])
            case "shutdown":
                return ShutdownRequested(hurry=bool(frame["hurry"]))
        return None

    def _settle(self, frame: dict[str, Any]) -> None:
        future = self._replies.get(frame["id"])
        if future is None:
            if not frame["ok"]:
                log.log(_refusal_level(frame["error"]), "launcher_refused", extra={"error": frame["error"]})
        elif future.done():
            return
        elif frame["ok"]:
            future.set_result(frame["result"])
        else:
            future.set_exception(_refusal(frame["error"]))

    def _fail_open_requests(self) -> None:
        for future in self._replies.values():
            if not future.done():
                future.set_exception(LauncherError("the launcher has closed the connection"))


def _tell_of_limits(controllers: Collection[str] | None) -> None:
    """Say once what the node cannot enforce, rather than for every agent that asks for it."""
    missing = sorted(_LIMITS_BY_CONTROLLER.keys() - set(controllers or ()))
    if missing:
        facts = {"cgroups": controllers is not None, "limits": [_LIMITS_BY_CONTROLLER[each] for each in missing]}
        log.info("limits_not_enforced", extra=facts)


@contextlib.contextmanager
def _understanding() -> Iterator[None]:
    """Turn what ends or garbles the connection into LauncherError."""
    try:
        yield
    except (asyncio.IncompleteReadError, OSError) as error:
        raise LauncherError("the launcher has closed the connection") from error
    except (ValueError, TypeError, LookupError) as error:
        raise LauncherError(f"the launcher has said something that cannot be understood: {error!r}") from error


def _limits(limits: ResourceLimits) -> dict[str, Any]:
    memory_bytes = limits.memory_mb * _MB if limits.memory_mb is not None else None
    return {
        "memory_bytes": memory_bytes,
        "cpu": limits.cpu,
        "processes": limits.processes,
        "open_files": limits.open_files,
        "cpu_seconds": limits.cpu_seconds,
        "nice": limits.nice,
    }


def _user(user: SystemUser | None) -> dict[str, Any] | None:
    return None if user is None else {"uid": user.uid, "gid": user.gid, "groups": list(user.groups)}


def _zygote(start: ZygoteStart | None) -> dict[str, Any] | None:
    return None if start is None else {"env": dict(start.environment), "preload": list(start.preload)}


def _refusal(error: dict[str, Any]) -> LauncherError:
    kind = SpawnFailedError if error["code"] == "spawn_failed" else LauncherError
    return kind(error["message"])


def _refusal_level(error: dict[str, Any]) -> int:
    """A launch that has ended meanwhile is everyday; anything else means that the launcher keeps an old state."""
    return logging.DEBUG if error["code"] in ("conflict", "not_running") else logging.ERROR


def _slot(entry: dict[str, Any]) -> Slot:
    return Slot(
        instance_id=entry["slot"],
        launch_id=entry["launch_id"],
        state=SlotState(entry["state"]),
        pid=entry["pid"],
        started_at=entry["started_at"],
        instance=_metadata(entry),
        exits=tuple(_process_exit(exit_) for exit_ in entry["exits"]),
    )


def _metadata(entry: dict[str, Any]) -> Instance | None:
    try:
        return INSTANCE.decode(entry["metadata"])
    except UnreadableError as error:
        log.error("slot_unreadable", extra={"slot": entry["slot"], "error": str(error)})
        return None


def _process_exit(exit_: dict[str, Any]) -> ProcessExit:
    return ProcessExit(
        launch_id=exit_["launch_id"],
        pid=exit_["pid"],
        code=exit_["code"],
        signal=exit_["signal"],
        core_dumped=exit_["core_dumped"],
        max_rss_kb=exit_["max_rss_kb"],
        user_s=exit_["user_s"],
        system_s=exit_["system_s"],
        started_at=exit_["started_at"],
        ended_at=exit_["ended_at"],
        oom_killed=exit_.get("oom_killed", False),
        last_lines=_last_lines(exit_["last_lines"]),
    )


def _last_lines(streams: dict[str, list[str]] | None) -> LastLines | None:
    if not streams:
        # Not known yet, or not any more.
        return None
    return LastLines(out=tuple(streams.get("out", ())), err=tuple(streams.get("err", ())))
