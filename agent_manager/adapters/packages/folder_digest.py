"""The digest of a package folder: SHA-256 over names, modes and contents of the files that count.

The version of the code, the same on every host: of a file's mode only whether it may be executed, as git keeps it; of a
link where it leads. Files are read once and then known by what the file system says of them.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from agent_manager.adapters.packages.folder_tree import Entry, VanishedError, unreadable
from agent_manager.documents.problems import Problem

_CHUNK = 1 << 20
_PASSING = frozenset({errno.ENOENT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR})
"""What says nothing of the file but that it is to be looked at again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Digest:
    """`value` is None where a file could not be read. `contents` are the digests of the single files by path."""

    value: str | None
    contents: Mapping[str, bytes]
    problems: tuple[Problem, ...] = ()


Known = Mapping[Entry, bytes]
"""Digests of contents that were read before."""


def digest_of(folder: Path, entries: Iterable[Entry], known: Known) -> tuple[Digest, Known]:
    """The digest of the files, and what is known now.

    Raises VanishedError where one is gone meanwhile, or cannot be read at the moment.
    """
    whole, now, contents, problems = hashlib.sha256(), {}, {}, []
    for entry in entries:
        try:
            content = known.get(entry) or _content(folder, entry)
        except OSError as error:
            if error.errno in _PASSING:
                raise VanishedError(entry.path) from error
            problems.append(unreadable(entry.path, error))
            continue
        now[entry] = contents[entry.path] = content
        kind = b"link" if entry.target is not None else b"run" if entry.executable else b"file"
        name = os.fsencode(entry.path)
        whole.update(b"%s %d:%s %s\n" % (kind, len(name), name, content.hex().encode()))
    value = None if problems else whole.hexdigest()
    return Digest(value=value, contents=contents, problems=tuple(problems)), now


def unread_bytes(entries: Iterable[Entry], known: Known) -> int:
    """How much would have to be read."""
    return sum(entry.size for entry in entries if entry not in known)


def changed_files(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> list[str]:
    """Paths that came, went or have another content, ordered."""
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


def _content(folder: Path, entry: Entry) -> bytes:
    if entry.target is not None:
        return hashlib.sha256(os.fsencode(entry.target)).digest()
    content = hashlib.sha256()
    # Not followed: what was a file a moment ago may have become a link out of the folder; nor waited for: or a pipe.
    descriptor = os.open(folder / entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            content.update(chunk)
    return content.digest()
