"""The log pump: a process that moves what others write into rotated files. It always reads, so nobody waits for a disk.

The launcher talks to it over a SOCK_SEQPACKET socket, one JSON object a message: `{"open": id, "log": {…}}` with the
read end of a pipe, `{"flush": id}` answered by `{"flushed": id, "last_lines": […]}` once what the pipe held is in the
file, `{"close": id}` answered likewise by `{"closed": id}`, `{"ping": true}` answered by `{"pong": true}`, and
`{"goodbye": true}`. When the launcher dies without a goodbye, the pump kills what the launcher has left, saves the rest
of the output, and ends. `{"cgroups": {…}}` names the cgroups in which some of that may be, without the launcher's tag.
"""

import contextlib
import fcntl
import json
import os
import select
import socket
import sys
import termios
from dataclasses import dataclass, field
from typing import Any

from agent_manager.launcher.becoming import CONTROL_DESCRIPTOR, raise_descriptor_limit
from agent_manager.launcher.cgroups import Cgroups
from agent_manager.launcher.descriptor_passing import receive
from agent_manager.launcher.fields import Fields
from agent_manager.launcher.last_lines import LastLines
from agent_manager.launcher.rotating_file import LogFile, RotatingFile
from agent_manager.launcher.run_tag import RunTag

_MESSAGE_LIMIT_BYTES = 64 * 1024
_CHUNK_BYTES = 64 * 1024
_COPIES_BETWEEN_LOOKS = 8
_UMASK = 0o027
_INT_BYTES = 4


@dataclass(slots=True)
class _Stream:
    pipe: int
    file: RotatingFile
    last_lines: LastLines = field(default_factory=LastLines)
    ended: bool = False


class LogPump:
    """Copies streams into files until the launcher says goodbye or dies."""

    def __init__(self, control: socket.socket, tag: RunTag) -> None:
        self._control = control
        self._tag = tag
        self._epoll = select.epoll()
        self._epoll.register(control.fileno(), select.EPOLLIN)
        self._streams: dict[int, _Stream] = {}
        self._by_pipe: dict[int, _Stream] = {}
        self._cgroups: Cgroups | None = None
        self._serving = True

    def run(self) -> None:
        """Serve. A round reads a bounded part of every stream that has something, so that none starves another."""
        while self._serving:
            for place, (descriptor, _) in enumerate(self._epoll.poll(), 1):
                if descriptor == self._control.fileno():
                    self._take_messages()
                elif (stream := self._by_pipe.get(descriptor)) is not None:
                    self._copy(stream)
                if place % _COPIES_BETWEEN_LOOKS == 0:
                    # A round may take long where the disk is slow, and who does not answer counts as hanging.
                    self._take_messages()
        for stream_id in list(self._streams):
            self._close(stream_id)
            self._answer({"pong": True})

    def _take_messages(self) -> None:
        while self._serving and (packet := self._receive()) is not None:
            data, descriptors = packet
            if data:
                self._obey(json.loads(data), descriptors)
            else:
                self._tag.kill_this_run()
                if self._cgroups is not None:
                    self._cgroups.clear()
                    self._cgroups.close()
                self._serving = False

    def _receive(self) -> tuple[bytes, list[int]] | None:
        try:
            return receive(self._control, _MESSAGE_LIMIT_BYTES, descriptors=1, flags=socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except ConnectionError:
            return b"", []

    def _obey(self, message: dict[str, Any], descriptors: list[int]) -> None:
        match message:
            case {"open": stream_id, "log": log}:
                self._open(stream_id, descriptors[0], LogFile(**log))
            case {"flush": stream_id}:
                stream = self._streams[stream_id]
                self._drain(stream)
                self._answer({"flushed": stream_id, "last_lines": stream.last_lines.to_json()})
            case {"close": stream_id}:
                self._close(stream_id)
                self._answer({"closed": stream_id})
            case {"cgroups": dict(exported)}:
                self._cgroups = Cgroups.restore(Fields(exported, "cgroups"))
            case {"ping": _}:
                self._answer({"pong": True})
            case {"goodbye": _}:
                self._serving = False

    def _answer(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(ConnectionError):  # the next message tells that the launcher is gone
            self._control.send(json.dumps(message).encode())

    def _open(self, stream_id: int, pipe: int, limits: LogFile) -> None:
        sharing = (stream.file for stream in self._streams.values() if stream.file.limits.path == limits.path)
        file = next(sharing, None) or RotatingFile(limits)
        file.limits = limits
        self._streams[stream_id] = self._by_pipe[pipe] = _Stream(pipe, file)
        self._epoll.register(pipe, select.EPOLLIN)

    def _close(self, stream_id: int) -> None:
        stream = self._streams[stream_id]
        self._drain(stream)
        del self._streams[stream_id], self._by_pipe[stream.pipe]
        self._unwatch(stream)
        os.close(stream.pipe)
        if all(other.file is not stream.file for other in self._streams.values()):
            stream.file.close()

    def _drain(self, stream: _Stream) -> None:
        """Copy what the pipe holds now; whoever writes on and on must not keep us here."""
        rest = int.from_bytes(fcntl.ioctl(stream.pipe, termios.FIONREAD, bytes(_INT_BYTES)), sys.byteorder)
        while rest > 0 and not stream.ended:
            rest -= self._copy(stream)

    def _copy(self, stream: _Stream) -> int:
        try:
            data = os.read(stream.pipe, _CHUNK_BYTES)
        except BlockingIOError:  # a request of this round has read it already
            return 0
        stream.file.write(data)
        stream.last_lines.add(data)
        if not data:
            self._unwatch(stream)
        return len(data)

    def _unwatch(self, stream: _Stream) -> None:
        """Closing would not do it: the launcher has the same pipe open, so the kernel would go on reporting it."""
        if not stream.ended:
            stream.ended = True
            self._epoll.unregister(stream.pipe)


def main() -> None:
    """Pump for the launcher at the other end of descriptor 3."""
    os.umask(_UMASK)
    raise_descriptor_limit()
    with socket.socket(fileno=CONTROL_DESCRIPTOR) as control:
        LogPump(control, RunTag.inherited()).run()


if __name__ == "__main__":
    main()
