"""The packages of one root folder: `ports.packages.PackageSource`."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import time
from collections.abc import AsyncGenerator, Iterable
from pathlib import Path

from agent_manager.adapters.packages.folder_watch import FolderWatch
from agent_manager.adapters.packages.manifest_file import MANIFEST_NAME
from agent_manager.adapters.packages.manifest_paths import looked_at
from agent_manager.adapters.packages.package_folder import misnamed_package, unreadable_package
from agent_manager.adapters.packages.reading_queue import ReadingQueue
from agent_manager.adapters.packages.settling import Patience
from agent_manager.adapters.packages.watched_folder import WatchedFolder
from agent_manager.documents.problems import printable
from agent_manager.domain.errors import UnavailableError
from agent_manager.ports.packages import FoundPackage, Stage

SKIPPED = frozenset({"__pycache__", "_template", "test"})
"""Folders that are no packages, as are those whose names begin with a dot."""

PACKAGES_DEVICE = "packages-device"
"""The file, in the directory of what belongs to one run of the node, that tells which file system packages are on."""

INLINE_BYTES = 8_000_000
"""More of one package is read beside the scan, so that no other one waits for it."""

MAX_WATCHED = 32
"""Folders of one package that are watched; what changes below others is found after the interval."""

_MISNAMED = frozenset({"agent.yaml", "agent.yml"})


def package_folders(root: Path, names: Iterable[str]) -> list[Path]:
    """Those of the entries of `root` that may be packages, in their order."""
    folders = (root / name for name in names if name not in SKIPPED and not name.startswith("."))
    # `DirEntry.is_dir` raises for a link in a loop, and one bad entry must not hide the others.
    return [folder for folder in folders if os.path.isdir(folder)]


class FolderPackageSource:
    """Packages as folders of `root`.

    A folder without `agent.yaml` is passed over in silence, since it may be half copied; one with a manifest of nearly
    that name (`agent.yml`, `Agent.yaml`) is a fault, since its author waits for it to start.
    """

    def __init__(
        self, root: Path, *, interval_s: float = 30.0, patience: Patience | None = None, device_file: Path | None = None
    ) -> None:
        """`interval_s`: `changes` yields at least this often, whatever the file system tells.

        `device_file` keeps on which file system the root was when there last was something in it, for the next process.
        """
        self._root = Path(os.path.abspath(root))
        self._patience = patience or Patience()
        self._queue = ReadingQueue(self.look_again)
        self._known: dict[str, WatchedFolder] = {}
        self._gone_since: dict[str, float] = {}
        self._device = _Device(device_file)
        self._directories = frozenset({self._root})
        self._look_at: float | None = None
        self._watch = FolderWatch(
            self._root,
            directories=lambda: self._directories,
            counts=self._counts,
            look_at=lambda: self._look_at,
            interval_s=interval_s,
        )

    async def scan(self) -> tuple[FoundPackage, ...]:
        """Every package there is now, ordered by name.

        Raises UnavailableError when the root is gone or cannot be listed, or when an empty one has taken the place of
        one with packages, as where it was mounted: that is not the same as having no packages.
        """
        return await asyncio.to_thread(self._scan)

    def changes(self) -> AsyncGenerator[None]:
        """Yields whenever something may have changed, and after `interval_s` at the latest.

        Watched are the folders the last scan looked at, so each yield is to be followed by a scan.
        """
        return self._watch.changes()

    def look_again(self) -> None:
        """Let `changes` yield soon."""
        self._watch.wake()

    def _scan(self) -> tuple[FoundPackage, ...]:
        self._look_at = None
        now = time.monotonic()
        found: list[FoundPackage] = []
        known: dict[str, WatchedFolder] = {}
        directories = {self._root}
        for folder in self._folders():
            # Watched before it is looked into: what it lacks now may come any moment.
            directories.add(folder)
            if not os.path.lexists(folder / MANIFEST_NAME):
                if (faulty := without_manifest(folder)) is not None:
                    found.append(faulty)
                continue
            watched = self._known.get(folder.name) or WatchedFolder(
                folder=folder, patience=self._patience, queue=self._queue, inline_bytes=INLINE_BYTES
            )
            known[folder.name] = watched
            found.append(_look(watched))
            directories.update(watched.folders[:MAX_WATCHED], looked_at(watched.reading.data, folder))
        there = {package.name for package in found}
        found.extend(package for package in self._going(known, now) if package.name not in there)
        self._directories = frozenset(directories)
        self._plan(now)
        return tuple(sorted(found, key=lambda package: package.name))

    def _going(self, known: dict[str, WatchedFolder], now: float) -> list[FoundPackage]:
        """Packages that have gone a moment ago: whoever replaces a folder removes it first."""
        before, self._known = self._known, known
        gone = {name: self._gone_since.get(name, now) for name in before if name not in known}
        self._gone_since = {name: since for name, since in gone.items() if now < since + self._patience.quiet_s}
        for name in self._gone_since:
            known[name] = before[name]
        return [
            FoundPackage(name=printable(name), path=printable(str(self._root / name)), spec=None, stage=Stage.SETTLING)
            for name in self._gone_since
        ]

    def _plan(self, now: float) -> None:
        due = [watched.due_at for watched in self._known.values() if watched.due_at is not None]
        due.extend(since + self._patience.quiet_s for since in self._gone_since.values())
        if due:
            self._look_at = max(now, min(due))

    def _folders(self) -> list[Path]:
        try:
            status = os.stat(self._root)
            with os.scandir(self._root) as entries:
                names = sorted(entry.name for entry in entries)
        except FileNotFoundError as error:
            # Moved, checked out anew or not mounted: it is likelier to come back than to be a wish to stop every agent.
            raise UnavailableError(
                f"package folder {self._root} is gone; bring it back, or make it anew and empty to have no packages"
            ) from error
        except OSError as error:
            reason = error.strerror or error
            raise UnavailableError(
                f"package folder {self._root} cannot be listed: {reason}; check what it is and who may read it"
            ) from error
        if names:
            self._device.keep(status.st_dev)
        elif self._device.is_another(status.st_dev):
            raise UnavailableError(
                f"package folder {self._root} is empty and on another file system than before: it seems not to be "
                "mounted; mount it, or restart the node to have no packages"
            )
        return package_folders(self._root, names)

    def _counts(self, path: Path) -> bool:
        """Whether a change of this path can make a difference to a scan."""
        try:
            name, *below = path.relative_to(self._root).parts
        except ValueError:
            # The root itself.
            return True
        watched = self._known.get(name)
        if not below or watched is None:
            return True
        rules = watched.rules
        *above, last = ("/".join(below[: length + 1]) for length in range(len(below)))
        return (
            all(rules.counts(folder, is_folder=True) for folder in above)
            and rules.counts(last)
            and rules.counts(last, is_folder=True)
        )


class _Device:
    """The file system the packages were on. Its number holds until the machine, or whoever mounts, starts anew."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._number: str | None = None
        if file is not None:
            with contextlib.suppress(OSError):
                self._number = file.read_text(encoding="ascii").strip()

    def keep(self, number: int) -> None:
        if self._number == str(number):
            return
        self._number = str(number)
        if self._file is not None:
            # What cannot be kept is only not known to the next process.
            with contextlib.suppress(OSError):
                self._file.parent.mkdir(parents=True, exist_ok=True)
                self._file.write_text(self._number, encoding="ascii")

    def is_another(self, number: int) -> bool:
        return self._number is not None and self._number != str(number)


def _look(watched: WatchedFolder) -> FoundPackage:
    try:
        return watched.look()
    except OSError as error:
        return unreadable_package(watched.folder, error)


def without_manifest(folder: Path) -> FoundPackage | None:
    """A folder in which no manifest can be seen: a fault where its author waits for it to start; None where not."""
    if not os.access(folder, os.R_OK | os.X_OK) and os.path.isdir(folder):
        return unreadable_package(folder, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
    try:
        present = sorted(name for name in os.listdir(folder) if name.lower() in _MISNAMED)
    except OSError:
        # A folder that has vanished has no manifest to speak of.
        return None
    return misnamed_package(folder, present[0]) if present else None
