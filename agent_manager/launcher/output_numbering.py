"""Where a log file begins in the output it is a part of. Bytes are numbered from the first one ever written.

Names say nothing of it, since rotation moves them, and inodes are used again. So whoever writes keeps a note beside the
file, `.<name>.start`: the inode of a file and the number of its first byte. The note follows a rotation; a reader, or a
writer that comes after one that was killed in between, counts on from the file that the note tells of.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ANY_INODE = 0
"""In a note: the newest file, whichever it is. No file has this inode."""


@dataclass(frozen=True, slots=True)
class Start:
    """The file with this inode begins with the byte of this number."""

    inode: int
    first_byte: int


def note_path(log_path: str) -> str:
    """Where the note on a log file is kept."""
    directory, name = os.path.split(log_path)
    return os.path.join(directory, f".{name}.start")


def read_note(log_path: str) -> Start | None:
    """The note on a log file; None where there is none, or none that can be read."""
    with contextlib.suppress(OSError, ValueError):
        inode, first_byte = Path(note_path(log_path)).read_text(encoding="ascii").split()
        return Start(int(inode), int(first_byte))
    return None


def write_note(log_path: str, start: Start) -> None:
    """Replace the note in one step. Raises OSError."""
    path = note_path(log_path)
    making = f"{path}.new"
    Path(making).write_text(f"{start.inode} {start.first_byte}\n", encoding="ascii")
    os.replace(making, path)


def first_byte_of_newest(parts: Sequence[os.stat_result], note: Start | None) -> int:
    """The number of the first byte of `parts[0]`, from the files of one output, the newest first.

    Where the note's file is gone, numbers go on above those that were given.
    """
    older = [part.st_size for part in parts[1:]]
    if note is None:
        return sum(older)
    inodes = [part.st_ino for part in parts]
    if note.inode in inodes:
        older = older[: inodes.index(note.inode)]
    elif note.inode == ANY_INODE:
        older = []
    return note.first_byte + sum(older)
