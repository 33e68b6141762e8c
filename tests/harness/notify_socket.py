"""The end of `sd_notify` that a service manager holds."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType


class NotifySocket:
    """Takes what a main process says, in order. `name` is a path, or an abstract name that begins with `@`."""

    def __init__(self, name: Path | str) -> None:
        self.name = str(name)
        self._received: list[dict[str, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(self.name.replace("@", "\0", 1) if self.name.startswith("@") else self.name)

    def __enter__(self) -> NotifySocket:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    @property
    def messages(self) -> list[dict[str, str]]:
        """All messages so far, each as its assignments."""
        try:
            while True:
                lines = self._socket.recv(4096).decode().splitlines()
                self._received.append(dict(line.split("=", 1) for line in lines))
        except BlockingIOError:
            return list(self._received)

    def values(self, key: str) -> list[str]:
        """Every value that was assigned to a key so far."""
        return [message[key] for message in self.messages if key in message]

    def environment(self, **more: str) -> Mapping[str, str]:
        """What the main process gets to know."""
        return {"NOTIFY_SOCKET": self.name, **more}
