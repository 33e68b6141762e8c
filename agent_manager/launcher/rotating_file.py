"""A log file of bounded size: `name.log`, `name.log.1`, … What cannot be written is counted, never an error.

Beside it `.name.log.start` says which byte of the whole output the file begins with (`output_numbering`).
"""

import contextlib
import errno
import itertools
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from agent_manager.launcher import output_numbering
from agent_manager.launcher.output_numbering import ANY_INODE, Start

_FILE_MODE = 0o640


@dataclass(frozen=True, slots=True)
class LogFile:
    """Where output goes: at most `files` files of `max_bytes` bytes each, the present one included."""

    path: str
    max_bytes: int
    files: int


class RotatingFile:
    """Appends to a log file and rotates it; `limits` may be replaced at any time. Call `close` at the end."""

    def __init__(self, limits: LogFile) -> None:
        self.limits = limits
        self._descriptor: int | None = None
        self._size = 0
        self._first_byte = 0
        self._lost_bytes = 0
        self._lost_reason = ""

    def write(self, data: bytes) -> None:
        """Append. What the disk does not take is dropped, and the file says so once it can be written again."""
        rest = memoryview(data)
        try:
            self._tell_loss()
            while rest:
                rest = rest[self._write_some(rest) :]
        except OSError as error:
            self._lost_bytes += len(rest)
            self._lost_reason = error.strerror or str(error)
            self._close()

    def close(self) -> None:
        """Tell of what was lost, if that is possible by now, and close the file."""
        self.write(b"")
        self._close()

    def _tell_loss(self) -> None:
        if not self._lost_bytes:
            return
        notice = memoryview(f"\n[log pump: {self._lost_bytes} bytes of output lost: {self._lost_reason}]\n".encode())
        while notice:
            notice = notice[self._write_some(notice) :]
        self._lost_bytes = 0

    def _write_some(self, data: memoryview) -> int:
        if self._descriptor is None:
            self._descriptor = self._open()
        if self._size >= self.limits.max_bytes:
            self._close()
            self._rotate()
            self._descriptor = self._open()
        written = os.write(self._descriptor, data[: self.limits.max_bytes - self._size])
        self._size += written
        return written

    def _open(self) -> int:
        path = self.limits.path
        os.makedirs(os.path.dirname(path), exist_ok=True)
        # Not blocking: opening a FIFO would wait for its reader.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(path, flags, _FILE_MODE)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "not a regular file", path)
        self._size = status.st_size
        self._number(status)
        return descriptor

    def _number(self, newest: os.stat_result) -> None:
        note = output_numbering.read_note(self.limits.path)
        self._first_byte = output_numbering.first_byte_of_newest([newest, *self._older()], note)
        self._note(Start(newest.st_ino, self._first_byte), unless=note)

    def _note(self, start: Start, *, unless: Start | None = None) -> None:
        """A note that cannot be written is made up for by the next: the file of the old one is still there."""
        with contextlib.suppress(OSError):
            if start != unless:
                output_numbering.write_note(self.limits.path, start)

    def _older(self) -> Iterator[os.stat_result]:
        with contextlib.suppress(FileNotFoundError):
            for number in itertools.count(1):
                yield os.stat(f"{self.limits.path}.{number}")

    def _rotate(self) -> None:
        path = self.limits.path
        names = [path, *(f"{path}.{number}" for number in range(1, self.limits.files))]
        if len(names) == 1:
            # The next file may be given the inode of this one.
            self._note(Start(ANY_INODE, self._first_byte + self._size))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(names[-1])
        for newer, older in reversed(list(itertools.pairwise(names))):
            with contextlib.suppress(FileNotFoundError):
                os.rename(newer, older)

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
