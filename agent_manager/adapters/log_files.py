"""The files of one output, opened as the one sequence of bytes that they are.

An output is `<instance_id>.<out|err>.log`, older parts of it `.1`, `.2` and so on, the higher the older. The launcher's
log pump writes and rotates them at any moment, and keeps a note of how bytes are numbered.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count

from agent_manager.launcher import output_numbering

_BLOCK = 64 * 1024
_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class _Part:
    path: str
    descriptor: int
    status: os.stat_result
    first_byte: int = 0

    @property
    def end(self) -> int:
        return self.first_byte + self.status.st_size


@dataclass(frozen=True, slots=True)
class OutputFiles:
    """What is there of an output: the bytes from number `first_byte` up to, not including, `end`."""

    _parts: tuple[_Part, ...]
    """The newest first, without gaps."""

    @property
    def first_byte(self) -> int:
        """The number of the oldest byte there still is."""
        return self._parts[-1].first_byte

    @property
    def end(self) -> int:
        """The number the next byte will have."""
        return self._parts[0].end

    def read(self, start: int, end: int) -> bytes:
        """The bytes from `start` to before `end`, as far as they are there. Raises OSError."""
        pieces = []
        for part in reversed(self._parts):
            begin, stop = max(start, part.first_byte), min(end, part.end)
            if begin < stop:
                pieces.append(os.pread(part.descriptor, stop - begin, begin - part.first_byte))
        return b"".join(pieces)

    def backwards(self, end: int) -> Iterator[bytes]:
        """What is before `end` in blocks, the last block first. Raises OSError."""
        while end > self.first_byte:
            start = max(self.first_byte, end - _BLOCK)
            yield self.read(start, end)
            end = start


@contextmanager
def opened(path: str) -> Iterator[OutputFiles | None]:
    """The output whose newest file is at `path`; None while it has no file. Raises OSError.

    An open file keeps its content whatever it is renamed to, so only a rotation while they are being opened matters. It
    moves the oldest file first and the newest last: if the newest has not moved and the note is what it was, what has
    been opened is complete. Else they are opened again.
    """
    for _ in range(_ATTEMPTS):
        with ExitStack() as files:
            note = output_numbering.read_note(path)
            parts = list(_open_each(path, files))
            if (not parts or _in_place(parts[0])) and output_numbering.read_note(path) == note:
                yield _numbered(parts, note) if parts else None
                return
    raise OSError(errno.EAGAIN, "rotated faster than it can be read", path)


def _open_each(path: str, files: ExitStack) -> Iterator[_Part]:
    """One name is missing while a file moves on to the next; a file that has just moved is met twice and taken once."""
    last: os.stat_result | None = None
    missing = 0
    for candidate in _names(path):
        try:
            descriptor = os.open(candidate, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            missing += 1
            if missing > 1:
                return
            continue
        files.callback(os.close, descriptor)
        missing = 0
        status = os.fstat(descriptor)
        if last is None or not os.path.samestat(last, status):
            yield _Part(candidate, descriptor, status)
        last = status


def _names(path: str) -> Iterator[str]:
    yield path
    for number in count(1):
        yield f"{path}.{number}"


def _in_place(part: _Part) -> bool:
    try:
        return os.path.samestat(os.stat(part.path), part.status)
    except FileNotFoundError:
        return False


def _numbered(parts: list[_Part], note: output_numbering.Start | None) -> OutputFiles:
    first_byte = output_numbering.first_byte_of_newest([part.status for part in parts], note)
    numbered = []
    for number, part in enumerate(parts):
        if number:
            first_byte -= part.status.st_size
        numbered.append(_Part(part.path, part.descriptor, part.status, first_byte))
    return OutputFiles(tuple(numbered))
