"""Files and directories that nobody but their owner may read."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

PARTIAL_PREFIX = ".partial-"
"""Names of files that are being written begin so; one that stays was left by a writer that was killed."""


def make_private_directory(path: Path) -> None:
    """Make `path` (0700) and its parents, or take the rights of others from it when it exists. Raises OSError."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)


def make_directory_of_others(path: Path) -> None:
    """Make `path`, in which everybody finds what they know the name of and may read, and nobody else makes anything.

    Raises OSError, also where somebody else has made it.
    """
    for directory in (*reversed(path.parents), path):
        with contextlib.suppress(FileExistsError):
            directory.mkdir()
            directory.chmod(0o711)  # whatever the umask
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "this is not a directory of ours", str(path))
    path.chmod(0o711)


def write_private(path: Path, text: str, *, durable: bool = False, owner: int | None = None) -> None:
    """Replace `path` by a file (0600) with this text; at no moment is a part of it seen. `owner` None: ours.

    `durable`: it survives a loss of power from the moment this returns, at the price of two writes to the disk. Raises
    OSError; the file is then as it was.
    """
    partial = f"{path.parent}/{PARTIAL_PREFIX}{os.urandom(8).hex()}"
    _create(partial, text, owner, durable=durable)
    try:
        os.replace(partial, path)
    except BaseException:
        os.unlink(partial)
        raise
    if durable:
        sync_directory(path.parent)


def create_private(path: Path, text: str, *, owner: int | None = None) -> None:
    """Make the file `path` (0600) with this text, which nobody looks for yet. `owner` None: ours.

    Raises OSError, FileExistsError among them; then nothing is left of it.
    """
    _create(str(path), text, owner, durable=False)


def _create(path: str, text: str, owner: int | None, *, durable: bool) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if owner is not None:
            os.fchown(descriptor, owner, -1)
        unwritten = memoryview(text.encode())
        while unwritten:
            unwritten = unwritten[os.write(descriptor, unwritten) :]
        if durable:
            os.fsync(descriptor)
    except BaseException:
        os.unlink(path)
        raise
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Make what was created, renamed or removed in a directory survive a loss of power. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
