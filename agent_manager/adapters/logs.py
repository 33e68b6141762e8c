"""Output files of instances: `ports.processes.Logs` over one directory.

A stream is `<instance_id>.<out|err>.log`, older parts of it `.1`, `.2` and so on, the higher the older. The launcher's
log pump writes and rotates them at any moment.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from agent_manager.domain.errors import UnavailableError
from agent_manager.domain.identifiers import split_instance_id
from agent_manager.ports.processes import LogTail

STREAMS = ("out", "err")

_BLOCK = 64 * 1024
_ATTEMPTS = 5


class LogDirectory:
    """The log files in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def stem(self, instance_id: str) -> str:
        """Path of the instance's output files without `.out.log` and `.err.log`.

        Raises InvalidRequestError when it is no instance id, so that no other path can be reached.
        """
        split_instance_id(instance_id)
        return os.path.abspath(self._directory / instance_id)

    async def tail(self, instance_id: str, *, lines: int, max_bytes: int) -> tuple[LogTail, ...]:
        """The last `lines` lines of each stream that has files, at most `max_bytes` of each, rotated files included.

        Bytes that are no UTF-8 are replaced. A last line without its end is a line. Where `max_bytes` cuts a line, it
        is left out, unless it is the only one. Raises InvalidRequestError when it is no instance id, UnavailableError
        when a file is there and cannot be read.
        """
        stem = self.stem(instance_id)
        try:
            return await asyncio.to_thread(_tails, instance_id, stem, lines, max_bytes)
        except OSError as error:
            message = f"output files {stem}.*.log cannot be read: {error.strerror or error}"
            raise UnavailableError(message) from error


def _tails(instance_id: str, stem: str, lines: int, max_bytes: int) -> tuple[LogTail, ...]:
    tails = []
    for stream in STREAMS:
        path = f"{stem}.{stream}.log"
        with ExitStack() as files:
            parts = _open_parts(path, files)
            if not parts:
                continue
            text = _last_lines(parts, lines, max_bytes)
            end = parts[0].size if parts[0].path == path else 0
            tails.append(LogTail(instance_id=instance_id, stream=stream, path=path, lines=text, end_offset=end))
    return tuple(tails)


@dataclass(frozen=True, slots=True)
class _Part:
    """One open file of a stream, with its size when it was opened."""

    path: str
    descriptor: int
    size: int


def _open_parts(path: str, files: ExitStack) -> list[_Part]:
    """The files of a stream in order, newest first; the newest may be missing between two writes.

    An open file keeps its content whatever it is renamed to, so only a rotation while they are being opened matters. It
    moves the oldest file first and the newest last: has the newest moved, they are opened again (where that happens
    every time, the newest alone has to do); else one that has just moved up may be met twice, and is taken once.
    """
    parts: list[_Part] = []
    for _ in range(_ATTEMPTS):
        parts = list(_open_each(path, files))
        if not parts or _in_place(parts[0]):
            return parts
    return parts[:1]


def _open_each(path: str, files: ExitStack) -> Iterator[_Part]:
    last: os.stat_result | None = None
    for candidate in _names(path):
        try:
            descriptor = os.open(candidate, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            if candidate == path:
                continue
            return
        files.callback(os.close, descriptor)
        status = os.fstat(descriptor)
        if last is None or not os.path.samestat(last, status):
            yield _Part(candidate, descriptor, status.st_size)
        last = status


def _in_place(part: _Part) -> bool:
    try:
        return os.path.samestat(os.stat(part.path), os.fstat(part.descriptor))
    except FileNotFoundError:
        return False


def _names(path: str) -> Iterator[str]:
    yield path
    number = 1
    while True:
        yield f"{path}.{number}"
        number += 1


def _last_lines(parts: list[_Part], lines: int, max_bytes: int) -> tuple[str, ...]:
    if lines <= 0 or max_bytes <= 0:
        return ()
    blocks: list[bytes] = []
    ends = size = 0
    for block in _backwards(parts):
        blocks.append(block)
        size += len(block)
        ends += block.count(b"\n")
        # One end more than lines: the last line's own end is the first one met.
        if ends > lines or size > max_bytes:
            break
    return _split(b"".join(reversed(blocks)), lines, max_bytes)


def _backwards(parts: list[_Part]) -> Iterator[bytes]:
    """The stream's bytes in blocks, from its end to its beginning."""
    for part in parts:
        end = part.size
        while end > 0:
            start = max(0, end - _BLOCK)
            yield os.pread(part.descriptor, end - start, start)
            end = start


def _split(data: bytes, lines: int, max_bytes: int) -> tuple[str, ...]:
    kept = data[-max_bytes:]
    cut = len(kept) < len(data) and not data[: -len(kept)].endswith(b"\n")
    pieces = kept.removesuffix(b"\n").split(b"\n") if kept else []
    if cut and len(pieces) > 1:
        del pieces[0]
    return tuple(piece.removesuffix(b"\r").decode("utf-8", "replace") for piece in pieces[-lines:])
