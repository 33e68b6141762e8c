"""The launcher's side of the log pump: it keeps the read ends of all pipes, so the pump may die at any moment."""

import errno
import itertools
import json
import os
import resource
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from agent_manager.launcher.becoming import Program
from agent_manager.launcher.cgroups import Cgroups
from agent_manager.launcher.children import Children
from agent_manager.launcher.diagnostics import warn
from agent_manager.launcher.event_loop import READABLE, WRITABLE, EventLoop
from agent_manager.launcher.exits import Exit
from agent_manager.launcher.fields import Fields, count, natural, text, truth
from agent_manager.launcher.restarts import Restarter
from agent_manager.launcher.rotating_file import LogFile
from agent_manager.launcher.spawning import SpawnFailure
from agent_manager.launcher.watch import Watch

_START_TIMEOUT_S = 120.0
_PING_INTERVAL_S = 10.0
_HANG_TIMEOUT_S = 30.0
_LAST_PING_INTERVAL_S = 1.0
_LAST_HANG_TIMEOUT_S = 3.0
_ANSWER_LIMIT_BYTES = 64 * 1024
_TRY_AGAIN = (errno.EAGAIN, errno.ETOOMANYREFS, errno.ENOBUFS)

_OnFlushed = Callable[[list[str]], None]


@dataclass(slots=True)
class _Stream:
    read_end: int
    log: LogFile
    on_flushed: list[_OnFlushed] = field(default_factory=list)
    closing: bool = False


class PumpClient:
    """Streams into log files. Whatever is asked while the pump is down is done by the next one.

    A pump that hangs is replaced: agents would wait for it as soon as their pipes are full.
    """

    def __init__(
        self,
        loop: EventLoop,
        children: Children,
        env: Mapping[str, str],
        cgroups: Cgroups | None = None,
        *,
        ping_interval_s: float = _PING_INTERVAL_S,
    ) -> None:
        """`env` is the complete environment of the pump. `cgroups` are those it kills should the launcher die."""
        self.pid: int | None = None
        self._loop = loop
        self._children = children
        self._program = Program(
            argv=(sys.executable, "-P", "-m", "agent_manager.launcher.log_pump"),
            env=env,
            cwd="/",
            dies_with_launcher=False,
        )
        self._restarter = Restarter(loop, self._start)
        self._control: socket.socket | None = None
        self._unsent: deque[tuple[bytes, tuple[int, ...]]] = deque()
        self._streams: dict[int, _Stream] = {}
        self._ids = itertools.count(1)
        # The pump has the same limit, and needs a pipe and a file for each stream.
        self._highest_descriptor = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2
        self._on_ended: Callable[[], object] | None = None
        self._completely = True
        self._cgroups = cgroups
        self._ping_interval_s = ping_interval_s
        self._watch: Watch | None = None
        self._in_a_hurry = False

    def start(self) -> None:
        """Start the pump, and start it again whenever it ends."""
        self._restarter.start()

    def go_on(self) -> None:
        """The pump need not end any more; one that has is started again."""
        self._on_ended = None
        self._in_a_hurry = False
        if self.pid is None:
            self._restarter.cancel()
            self._restarter.start()

    def export(self) -> list[dict[str, Any]]:
        """The streams, as `restore` takes them; their read ends have to stay open."""
        return [
            {"id": stream_id, "read_end": stream.read_end, "log": asdict(stream.log), "closing": stream.closing}
            for stream_id, stream in self._streams.items()
        ]

    def restore(self, streams: list[Fields]) -> None:
        """Take over the streams of an earlier launcher. Raises FieldError."""
        for fields in streams:
            log = fields.object("log")
            limits = LogFile(log.get("path", text), log.get("max_bytes", count), log.get("files", count))
            stream = _Stream(fields.get("read_end", natural), limits, closing=fields.get("closing", truth))
            self._streams[fields.get("id", count)] = stream
        self._ids = itertools.count(max(self._streams, default=0) + 1)

    def open_stream(self, log: LogFile) -> tuple[int, int]:
        """A new stream into a file: its id, and the write end, which the caller closes. Raises OSError."""
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        if max(read_end, write_end) >= self._highest_descriptor:
            os.close(read_end)
            os.close(write_end)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        os.set_blocking(read_end, False)
        stream_id = next(self._ids)
        self._streams[stream_id] = stream = _Stream(read_end, log)
        self._introduce(stream_id, stream)
        return stream_id, write_end

    def flush(self, stream_id: int, on_flushed: _OnFlushed) -> None:
        """Call back with the last lines of the stream once what has been written to it so far is in the file."""
        self._streams[stream_id].on_flushed.append(on_flushed)
        self._send({"flush": stream_id})

    def close_stream(self, stream_id: int) -> None:
        """Save what has been written, then forget the stream."""
        self._streams[stream_id].closing = True
        self._send({"close": stream_id})

    def hasten(self) -> None:
        """The end is near, and somebody waits for it: one that hangs is replaced sooner."""
        if not self._in_a_hurry:
            self._in_a_hurry = True
            self._watch_closely()

    def end(self, on_ended: Callable[[], object], *, completely: bool = True) -> None:
        """Call back once all that has been written is in the files and the pump has ended.

        `completely`: what has been asked for since it was told to end is done by another one before.
        """
        self._on_ended = on_ended
        self._completely = completely
        self.hasten()
        if self._control is not None:
            self._send({"goodbye": True})
        elif self.pid is None:
            self._on_gone()

    def _on_gone(self) -> None:
        """There is no pump, and none is wanted any more, unless something is left to be saved."""
        owed = any(stream.on_flushed or stream.closing for stream in self._streams.values())
        if self._completely and owed:
            self._restarter.cancel()
            self._restarter.start()
        elif self._on_ended is not None:
            self._on_ended()

    def _start(self) -> None:
        try:
            self._control = self._launch()
        except OSError as error:
            self._restart(str(error))
            return
        self._loop.watch(self._control.fileno(), self._on_ready)
        self._watch = Watch(
            self._loop,
            ping=lambda: self._send({"ping": True}),
            on_hang=self._on_hang,
            interval_s=self._ping_interval_s,
            start_timeout_s=_START_TIMEOUT_S,
            hang_timeout_s=min(_HANG_TIMEOUT_S, 3 * self._ping_interval_s),
        )
        if self._in_a_hurry:
            self._watch_closely()
        if self._cgroups is not None:
            self._send({"cgroups": self._cgroups.export()})
        for stream_id, stream in self._streams.items():
            self._introduce(stream_id, stream)
        if self._on_ended is not None:
            self._send({"goodbye": True})

    def _launch(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            program = replace(self._program, control=theirs.fileno())
            try:
                self.pid = self._children.start(program, on_started=self._on_started, on_exit=self._on_exit)
            except OSError:
                ours.close()
                raise
        return ours

    def _watch_closely(self) -> None:
        if self._watch is not None:
            self._watch.hasten(interval_s=_LAST_PING_INTERVAL_S, hang_timeout_s=_LAST_HANG_TIMEOUT_S)

    def _on_hang(self, silent_s: float) -> None:
        warn(f"log pump: no pong for {silent_s:g} s, and is killed")
        if self.pid is not None:
            self._children.signal(self.pid, signal.SIGKILL)

    def _introduce(self, stream_id: int, stream: _Stream) -> None:
        self._send({"open": stream_id, "log": asdict(stream.log)}, stream.read_end)
        if stream.on_flushed:
            self._send({"flush": stream_id})
        if stream.closing:
            self._send({"close": stream_id})

    def _on_started(self, failure: SpawnFailure | None) -> None:
        if failure is not None:
            warn(f"log pump: {failure}")

    def _on_exit(self, ended: Exit) -> None:
        self._take_answers()
        self._disconnect()
        self.pid = None
        if self._on_ended is not None and ended.code == 0:
            self._on_gone()
        else:
            self._restart(f"ended with {ended}")

    def _restart(self, reason: str) -> None:
        warn(f"log pump: {reason}; starts again in {self._restarter.restart()} s")

    def _send(self, message: dict[str, Any], *descriptors: int) -> None:
        if self._control is None:
            return
        self._unsent.append((json.dumps(message).encode(), descriptors))
        if len(self._unsent) == 1:
            self._flush()

    def _on_ready(self) -> None:
        self._take_answers()
        self._flush()

    def _flush(self) -> None:
        if self._control is None:
            return
        events = READABLE
        try:
            while self._unsent:
                data, descriptors = self._unsent[0]
                socket.send_fds(self._control, [data], descriptors)
                self._unsent.popleft()
        except OSError as error:
            # Anything else means that the pump has died: its exit follows.
            if error.errno in _TRY_AGAIN:
                events |= WRITABLE
        self._loop.change(self._control.fileno(), events)

    def _take_answers(self) -> None:
        while self._control is not None:
            try:
                answer = self._control.recv(_ANSWER_LIMIT_BYTES)
            except BlockingIOError:
                return
            except ConnectionResetError:
                # It ended with something of ours unread; what it has answered before is still to come.
                continue
            except OSError:
                answer = b""
            if not answer:
                self._disconnect()
                return
            self._on_answer(json.loads(answer))

    def _on_answer(self, answer: dict[str, Any]) -> None:
        match answer:
            case {"pong": _} if self._watch is not None:
                self._watch.pong()
            case {"flushed": stream_id, "last_lines": last_lines}:
                stream = self._streams[stream_id]
                callbacks, stream.on_flushed = stream.on_flushed, []
                for callback in callbacks:
                    callback(last_lines)
            case {"closed": stream_id}:
                os.close(self._streams.pop(stream_id).read_end)

    def _disconnect(self) -> None:
        if self._control is not None:
            self._loop.unwatch(self._control.fileno())
            self._control.close()
            self._control = None
            self._unsent.clear()
        if self._watch is not None:
            self._watch.end()
            self._watch = None
