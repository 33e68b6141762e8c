"""The service manager above the launcher, such as systemd, and what it is told: the protocol of `sd_notify(3)`."""

import os
import socket
import time
from collections import deque
from collections.abc import MutableMapping
from typing import Any

from agent_manager.launcher.diagnostics import warn
from agent_manager.launcher.event_loop import EventLoop
from agent_manager.launcher.fields import Fields, positive, text

VARIABLES = frozenset({"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"})
"""What it tells its main process through the environment, and nobody below that may see: they could speak for it."""

_TRY_AGAIN_S = 1.0
_STOP_EXTENSION_S = 30
_MICROSECONDS = 1_000_000


class ServiceManager:
    """Told how things go. Where there is none, nothing is said; where it does not listen, it is told later."""

    def __init__(self, loop: EventLoop, *, address: str | None, watchdog_s: float | None) -> None:
        """`address` is its socket (`@` begins an abstract name), `watchdog_s` how often it wants to hear of us."""
        self._loop = loop
        self._given_address = address
        self._address = f"\0{address[1:]}" if address is not None and address.startswith("@") else address
        self._watchdog_s = watchdog_s
        self._unsent: deque[bytes] = deque()
        self._unheard = False
        self._stopping = False
        self._socket: socket.socket | None = None
        if address is not None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    @classmethod
    def taken_from(cls, environment: MutableMapping[str, str], loop: EventLoop) -> "ServiceManager":
        """The one that the environment names; takes its variables out. What it does not understand is a warning."""
        given = {name: environment.pop(name, "") for name in VARIABLES}
        return cls(loop, address=_address(given["NOTIFY_SOCKET"]), watchdog_s=_watchdog_s(given))

    def export(self) -> dict[str, Any]:
        """What `restore` takes: the variables were taken out of the environment."""
        return {"address": self._given_address, "watchdog_s": self._watchdog_s}

    @classmethod
    def restore(cls, fields: Fields, loop: EventLoop) -> "ServiceManager":
        """The one that an earlier launcher spoke to. Raises FieldError."""
        return cls(loop, address=fields.optional("address", text), watchdog_s=fields.optional("watchdog_s", positive))

    def watch(self) -> None:
        """From now on tell it that the loop is alive, twice in the time in which it wants to hear so."""
        if self._watchdog_s is None or self._socket is None:
            return
        if not self._unsent:
            self._send("WATCHDOG=1")
        self._loop.call_later(self._watchdog_s / 2, self.watch)

    def starting(self, name: str) -> None:
        """A service is being started."""
        self._send_unless_stopping(f"STATUS=Starting {name}")

    def ready(self) -> None:
        """All that belongs to a start, or to a reload, is done."""
        self._send_unless_stopping("READY=1", "STATUS=All services are ready")

    def reloading(self) -> None:
        """Configuration is read again; `ready` ends it."""
        self._send_unless_stopping("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str) -> None:
        """The end has begun, or has come to this. As long as the loop runs it is asked for patience."""
        if self._stopping:
            self._send(f"STATUS={status}")
            return
        self._stopping = True
        self._send("STOPPING=1", f"STATUS={status}")
        self._ask_for_patience()

    def close(self) -> None:
        """Free its descriptor."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _ask_for_patience(self) -> None:
        if self._socket is not None:
            self._send(f"EXTEND_TIMEOUT_USEC={_STOP_EXTENSION_S * _MICROSECONDS}")
            self._loop.call_later(_STOP_EXTENSION_S / 3, self._ask_for_patience)

    def _send_unless_stopping(self, *assignments: str) -> None:
        """Whatever gets ready or is asked for during the end, the end it remains."""
        if not self._stopping:
            self._send(*assignments)

    def _send(self, *assignments: str) -> None:
        if self._socket is None:
            return
        self._unsent.append("\n".join(assignments).encode())
        if len(self._unsent) == 1:
            self._flush()

    def _flush(self) -> None:
        while self._socket is not None and self._unsent:
            try:
                self._socket.sendto(self._unsent[0], self._address or "")
            except OSError as error:
                # A full queue, or systemd executing itself anew: what we have to say must not be lost.
                if not self._unheard:
                    warn(f"service manager: {error.strerror}; tried again every {_TRY_AGAIN_S:g} s")
                self._unheard = True
                self._loop.call_later(_TRY_AGAIN_S, self._flush)
                return
            self._unsent.popleft()
            self._unheard = False


def _address(text: str) -> str | None:
    if not text or text[0] in "/@":
        return text or None
    warn(f"NOTIFY_SOCKET {text!r} is neither a path nor an abstract name: nobody is notified")
    return None


def _watchdog_s(given: MutableMapping[str, str]) -> float | None:
    pid, interval = given["WATCHDOG_PID"], given["WATCHDOG_USEC"]
    if not interval or pid not in ("", str(os.getpid())):
        return None
    try:
        if (microseconds := int(interval)) > 0:
            return microseconds / _MICROSECONDS
    except ValueError:
        pass
    warn(f"WATCHDOG_USEC {interval!r} is not a number of microseconds above 0: no watchdog")
    return None
