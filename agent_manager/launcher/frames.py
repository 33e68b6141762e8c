"""Length-prefixed JSON between launcher and manager: four bytes length (big endian), then one JSON object."""

import contextlib
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from agent_manager.launcher.event_loop import READABLE, WRITABLE, EventLoop

MAX_FRAME_BYTES = 64 * 1024 * 1024

_PREFIX_BYTES = 4
# Not so much that the C library maps memory for each read, and unmaps it.
_READ_BYTES = 64 * 1024

Message = dict[str, Any]


class FrameError(Exception):
    """What arrived is not a frame; nothing after it can be read either."""


def encode(message: Mapping[str, Any]) -> bytes:
    """The frame for a JSON object. Raises FrameError if it is larger than 64 MiB."""
    body = json.dumps(message, separators=(",", ":")).encode()
    if len(body) > MAX_FRAME_BYTES:
        raise FrameError(f"a frame of {len(body)} bytes: at most {MAX_FRAME_BYTES} can be sent")
    return len(body).to_bytes(_PREFIX_BYTES, "big") + body


class FrameDecoder:
    """Turns bytes that arrive in any pieces into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Add what has arrived."""
        self._buffer += data

    def messages(self) -> Iterator[Message]:
        """The complete messages so far. Raises FrameError for one that is too large or not a JSON object."""
        while len(self._buffer) >= _PREFIX_BYTES:
            length = int.from_bytes(self._buffer[:_PREFIX_BYTES], "big")
            if length > MAX_FRAME_BYTES:
                raise FrameError(f"a frame announces {length} bytes: at most {MAX_FRAME_BYTES} are accepted")
            end = _PREFIX_BYTES + length
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_PREFIX_BYTES:end])
            del self._buffer[:end]
            yield _decode(body)


class FrameConnection:
    """Frames over a socket, buffered both ways, so that a peer that does not read never blocks anybody."""

    def __init__(
        self,
        loop: EventLoop,
        peer: socket.socket,
        *,
        on_message: Callable[[Message], None],
        on_closed: Callable[[str | None], None],
    ) -> None:
        """`on_closed` is called when the connection ends: with `None` if the peer closed it, else with what was wrong.

        `on_message` may raise FrameError for a message that makes no sense, which ends the connection too.
        """
        peer.setblocking(False)
        self._loop = loop
        self._peer = peer
        self._on_message = on_message
        self._on_closed = on_closed
        self._decoder = FrameDecoder()
        self._unsent = bytearray()
        self._open = True
        loop.watch(peer.fileno(), self._on_ready)

    def send(self, message: Mapping[str, Any]) -> None:
        """Send now what can be sent now, and the rest when the peer reads. Nothing happens once closed."""
        if not self._open:
            return
        try:
            frame = encode(message)
        except FrameError as error:
            self._end(str(error))
            return
        was_empty = not self._unsent
        self._unsent += frame
        if was_empty:
            self._flush()
            if self._unsent:
                self._loop.change(self._peer.fileno(), READABLE | WRITABLE)

    def close(self) -> None:
        """Close without notice; may be called again."""
        if self._open:
            self._open = False
            self._loop.unwatch(self._peer.fileno())
            self._peer.close()

    def _on_ready(self) -> None:
        if self._unsent:
            self._flush()
            if not self._unsent:
                self._loop.change(self._peer.fileno(), READABLE)
        try:
            data = self._peer.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end(None)
            return
        self._decoder.feed(data)
        self._deliver()

    def _deliver(self) -> None:
        try:
            for message in self._decoder.messages():
                self._on_message(message)
                if not self._open:
                    return
        except FrameError as error:
            self._end(str(error))

    def _flush(self) -> None:
        # A broken connection shows when it is read.
        with contextlib.suppress(OSError):
            while self._unsent:
                del self._unsent[: self._peer.send(self._unsent)]

    def _end(self, reason: str | None) -> None:
        self.close()
        self._on_closed(reason)


def _decode(body: bytes) -> Message:
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"a frame of {len(body)} bytes is not JSON: {error}") from error
    if not isinstance(message, dict):
        raise FrameError(f"a frame holds a JSON {type(message).__name__}: expected an object")
    return message
