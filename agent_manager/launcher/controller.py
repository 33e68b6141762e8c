"""The launcher's end of the connection to the manager: requests, events, and pings that find out whether it hangs."""

import itertools
import os
import socket
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from agent_manager.launcher.diagnostics import warn_of
from agent_manager.launcher.event_loop import EventLoop
from agent_manager.launcher.frames import FrameConnection, FrameError, Message
from agent_manager.launcher.instances import Instances, Result
from agent_manager.launcher.requests import Ack, Expect, Ready, Release, Request, Signal, Spawn, Update, parse
from agent_manager.launcher.service_table import PROTOCOL, ControllerReady
from agent_manager.launcher.slots import RequestError
from agent_manager.launcher.watch import Watch

_PING_INTERVAL_S = 2.0


class Controller:
    """Connects one manager after the other to the instances."""

    def __init__(
        self, loop: EventLoop, instances: Instances, *, run: str, cgroup_controllers: Collection[str] | None
    ) -> None:
        """`run` identifies this run of the launcher; `cgroup_controllers` None: launches have no cgroups."""
        self._cgroup_controllers = None if cgroup_controllers is None else sorted(cgroup_controllers)
        self._loop = loop
        self._instances = instances
        self._run = run
        self._session: _Session | None = None
        self._hurry = False
        instances.on_event(self._send)

    def connect(
        self,
        rules: ControllerReady,
        *,
        on_ready: Callable[[], None],
        on_failed: Callable[[str | None], None],
    ) -> socket.socket:
        """Greet a new manager; returns its end of the connection, for the caller to pass on and close. Raises OSError.

        `on_failed` is told what is wrong with it (`None`: it has closed the connection); it has to be replaced then.
        """
        ours, theirs = socket.socketpair()
        self._session = _Session(self._loop, ours, self._instances, rules, on_ready, on_failed)
        self._send(
            {
                "type": "hello",
                "protocol": PROTOCOL,
                "launcher_pid": os.getpid(),
                "run": self._run,
                "cgroup_controllers": self._cgroup_controllers,
                "understands": ["expect"],
                "slots": self._instances.describe(),
            }
        )
        return theirs

    def disconnect(self) -> None:
        """The manager has ended."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def shut_down(self, *, hurry: bool) -> None:
        """Ask the manager, if there is one, to stop every instance and to exit. Once in a hurry, always in a hurry."""
        self._hurry = self._hurry or hurry
        self._send({"type": "shutdown", "hurry": self._hurry})

    def _send(self, message: Message) -> None:
        if self._session is not None:
            self._session.send(message)


class _Session:
    """The connection of one manager, and the watch over it."""

    def __init__(
        self,
        loop: EventLoop,
        peer: socket.socket,
        instances: Instances,
        rules: ControllerReady,
        on_ready: Callable[[], None],
        on_failed: Callable[[str | None], None],
    ) -> None:
        self._instances = instances
        self._on_ready = on_ready
        self._on_failed = on_failed
        self._connection = FrameConnection(loop, peer, on_message=self._on_message, on_closed=self._on_closed)
        self.send = self._connection.send
        self._numbers = itertools.count(1)
        self._watch = Watch(
            loop,
            ping=lambda: self.send({"type": "ping", "number": next(self._numbers)}),
            on_hang=lambda silent_s: self._on_closed(f"no pong for {silent_s:g} s"),
            interval_s=_PING_INTERVAL_S,
            start_timeout_s=rules.start_timeout_s,
            hang_timeout_s=rules.hang_timeout_s,
        )

    def close(self) -> None:
        self._connection.close()
        self._watch.end()

    def _on_closed(self, reason: str | None) -> None:
        self.close()
        self._on_failed(reason)

    def _on_message(self, message: Message) -> None:
        if message.get("type") == "pong":
            self._watch.pong()
            return
        request_id = message.get("id")
        if not isinstance(request_id, int):
            raise FrameError(f"a request of type {message.get('type')!r} has no id")
        answer = partial(self._answer, request_id)
        try:
            self._carry_out(parse(message), answer)
        except RequestError as error:
            answer(error)
        except Exception as error:
            # Whatever it is, the manager waits for this answer, and the requests behind it have arrived already.
            warn_of(error)
            answer(RequestError("internal", f"{type(error).__name__}: {error}"))

    def _carry_out(self, request: Request, answer: Callable[[Result | RequestError], None]) -> None:
        match request:
            case Spawn():
                self._instances.spawn(request, answer)
                return  # which answers later
            case Update():
                self._instances.update(request)
            case Signal():
                self._instances.signal(request)
            case Ack():
                self._instances.acknowledge(request.slot, request.launch_id)
            case Release():
                self._instances.release(request.slot)
            case Expect():
                self._instances.expect(request.zygote)
            case Ready():
                self._on_ready()
        answer({})

    def _answer(self, request_id: int, outcome: Result | RequestError) -> None:
        reply: dict[str, Any] = {"type": "reply", "id": request_id, "ok": not isinstance(outcome, RequestError)}
        if isinstance(outcome, RequestError):
            reply["error"] = {"code": outcome.code, "message": str(outcome)}
        else:
            reply["result"] = outcome
        self.send(reply)
