"""Finds out when a service accepts connections."""

import errno
import socket
from collections.abc import Callable

from agent_manager.launcher.event_loop import WRITABLE, EventLoop, Timer
from agent_manager.launcher.service_table import TcpReady

_RETRY_S = 0.02


class TcpProbe:
    """Tries to connect until that succeeds, without ever waiting for it."""

    def __init__(self, loop: EventLoop, target: TcpReady, on_accepted: Callable[[], None]) -> None:
        self._loop = loop
        self._target = target
        self._on_accepted = on_accepted
        self._attempt: socket.socket | None = None
        self._retry: Timer | None = None

    def start(self) -> None:
        """Begin to try."""
        family = socket.AF_INET6 if ":" in self._target.host else socket.AF_INET
        try:
            self._attempt = attempt = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError:
            self._try_later()
            return
        if attempt.connect_ex((self._target.host, self._target.port)) in (0, errno.EINPROGRESS):
            self._loop.watch(attempt.fileno(), self._on_decided, WRITABLE)
        else:
            self._attempt = None
            attempt.close()
            self._try_later()

    def cancel(self) -> None:
        """Stop trying."""
        self._drop_attempt()
        if self._retry is not None:
            self._retry.cancel()

    def _on_decided(self) -> None:
        accepted = self._attempt is not None and _is_connected(self._attempt)
        self._drop_attempt()
        if accepted:
            self._on_accepted()
        else:
            self._try_later()

    def _drop_attempt(self) -> None:
        if self._attempt is not None:
            self._loop.unwatch(self._attempt.fileno())
            self._attempt.close()
            self._attempt = None

    def _try_later(self) -> None:
        self._retry = self._loop.call_later(_RETRY_S, self.start)


def _is_connected(attempt: socket.socket) -> bool:
    if attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0:
        return False
    try:
        # A free port of the ephemeral range may have been given to this socket itself: then it is connected to itself.
        return bool(attempt.getsockname() != attempt.getpeername())
    except OSError:
        return False
