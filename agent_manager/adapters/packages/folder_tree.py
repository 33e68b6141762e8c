"""The files of a package folder that count, as the file system shows them without reading any."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agent_manager.adapters.packages.ignoring import IgnoreRules
from agent_manager.documents.problems import Problem

MAX_FILES = 20_000
"""Files that count in one package; more are data, which has no place in the code's version."""

MAX_BYTES = 2_000_000_000
"""Bytes that count in one package, for the same reason."""

MAX_DEPTH = 40
"""Levels of folders."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file or symbolic link. `path` is relative to the folder, `target` is where a link leads (None for a file)."""

    path: str
    executable: bool
    target: str | None
    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Tree:
    """What was found. `folders` are absolute; `problems` name what makes the package unusable."""

    entries: tuple[Entry, ...] = ()
    folders: tuple[Path, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(entry.size for entry in self.entries)

    @property
    def newest_ns(self) -> int:
        """When something in it has changed last (Unix nanoseconds); 0 for an empty tree."""
        return max((entry.changed_ns for entry in self.entries), default=0)


class VanishedError(Exception):
    """Something was gone between two looks: whoever copies or removes there has not finished."""


class _RefusedError(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def read_tree(folder: Path, rules: IgnoreRules) -> Tree:
    """Look at everything that counts, in the order of names. Raises VanishedError where the tree changes meanwhile.

    Sockets, pipes and devices are passed over; links to folders are not followed.
    """
    walk = _Walk(folder, rules)
    try:
        entries = tuple(sorted(walk.entries(folder, ""), key=lambda entry: os.fsencode(entry.path)))
    except _RefusedError as refused:
        walk.problems.append(refused.problem)
        entries = ()
    except FileNotFoundError as error:
        raise VanishedError(str(error.filename)) from error
    return Tree(entries=entries, folders=tuple(walk.folders), problems=tuple(walk.problems))


class _Walk:
    def __init__(self, root: Path, rules: IgnoreRules) -> None:
        self._root = os.path.realpath(root)
        self._rules = rules
        self._files = 0
        self._bytes = 0
        self.folders: list[Path] = []
        self.problems: list[Problem] = []

    def entries(self, folder: Path, prefix: str, depth: int = 0) -> Iterator[Entry]:
        if depth > MAX_DEPTH:
            raise _refusal(f"{prefix} is nested deeper than {MAX_DEPTH} folders", "fewer levels of folders")
        try:
            with os.scandir(folder) as found:
                listed = list(found)
        except PermissionError as error:
            self.problems.append(unreadable(prefix or ".", error))
            return
        self.folders.append(folder)
        for item in listed:
            path = f"{prefix}{item.name}"
            is_folder = item.is_dir(follow_symlinks=False)
            if not self._rules.counts(path, is_folder=is_folder):
                continue
            if is_folder:
                yield from self.entries(folder / item.name, f"{path}/", depth + 1)
            else:
                yield from self._entry(item, path)

    def _entry(self, item: os.DirEntry[str], path: str) -> Iterator[Entry]:
        status = item.stat(follow_symlinks=False)
        target = None
        if stat.S_ISLNK(status.st_mode):
            target = os.readlink(item.path)
            self._check_link(item.path, path, target)
        elif not stat.S_ISREG(status.st_mode):
            return
        self._count(status.st_size)
        yield Entry(
            path=path,
            executable=bool(status.st_mode & stat.S_IXUSR),
            target=target,
            device=status.st_dev,
            inode=status.st_ino,
            size=status.st_size,
            modified_ns=status.st_mtime_ns,
            changed_ns=status.st_ctime_ns,
        )

    def _check_link(self, link: str, path: str, target: str) -> None:
        real = os.path.realpath(link)
        if real == self._root or real.startswith(f"{self._root}{os.sep}"):
            return
        message = (
            f"{path} is a symbolic link out of the folder, to {target}: what it leads to would change without the "
            "package; copy it into the folder, or name it under `ignore`"
        )
        self.problems.append(Problem(path=(), message=message, expected="links that stay inside the folder"))

    def _count(self, size: int) -> None:
        self._files += 1
        self._bytes += size
        if self._files > MAX_FILES or self._bytes > MAX_BYTES:
            over = f"{MAX_FILES} files" if self._files > MAX_FILES else f"{MAX_BYTES} bytes"
            expected = f"at most {MAX_FILES} files and {MAX_BYTES} bytes that count"
            raise _refusal(f"has more than {over} that count: name data and built files under `ignore`", expected)


def unreadable(path: str, error: OSError) -> Problem:
    """The problem of something that counts and cannot be read."""
    message = (
        f"{path} cannot be read: {error.strerror or error}; let the manager's user read it, or name it under `ignore`"
    )
    return Problem(path=(), message=message, expected="readable files")


def _refusal(message: str, expected: str) -> _RefusedError:
    return _RefusedError(Problem(path=(), message=message, expected=expected))
