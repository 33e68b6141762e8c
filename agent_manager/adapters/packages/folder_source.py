"""The packages of one root folder: `ports.packages.PackageSource`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

from agent_manager.adapters.packages.folder_watch import FolderWatch
from agent_manager.adapters.packages.manifest_file import MANIFEST_NAME, Reading, Signature, read_manifest, signature_of
from agent_manager.adapters.packages.manifest_paths import looked_at
from agent_manager.adapters.packages.package_folder import found_package, misnamed_package
from agent_manager.documents.problems import printable
from agent_manager.domain.errors import UnavailableError
from agent_manager.ports.packages import FoundPackage

SKIPPED = frozenset({"__pycache__", "_template", "test"})
"""Folders that are no packages, as are those whose names begin with a dot."""

_MISNAMED = frozenset({"agent.yaml", "agent.yml"})


class FolderPackageSource:
    """Packages as folders of `root`, which need not exist.

    A folder without `agent.yaml` is passed over in silence, since it may be half copied; one with a manifest of nearly
    that name (`agent.yml`, `Agent.yaml`) is a fault, since its author waits for it to start.
    """

    def __init__(self, root: Path, *, interval_s: float = 30.0) -> None:
        """`interval_s`: `changes` yields at least this often, whatever the file system tells."""
        self._root = Path(os.path.abspath(root))
        self._readings: dict[str, tuple[Signature, Reading]] = {}
        self._directories = frozenset({self._root})
        self._had_packages = False
        self._watch = FolderWatch(self._root, directories=lambda: self._directories, interval_s=interval_s)

    async def scan(self) -> tuple[FoundPackage, ...]:
        """Every package there is now, ordered by name; none while the root has never been there.

        Raises UnavailableError when the root cannot be listed, or is gone and the last scan found packages in it: that
        is not the same as having no packages.
        """
        return await asyncio.to_thread(self._scan)

    def changes(self) -> AsyncIterator[None]:
        """Yields whenever something may have changed, and after `interval_s` at the latest.

        Watched are the folders the last scan looked at, so each yield is to be followed by a scan.
        """
        return self._watch.changes()

    def _scan(self) -> tuple[FoundPackage, ...]:
        packages: list[FoundPackage] = []
        readings: dict[str, tuple[Signature, Reading]] = {}
        directories = {self._root}
        for folder in self._folders():
            directories.update(_watchable(folder))
            manifest = folder / MANIFEST_NAME
            if not os.path.lexists(manifest):
                packages.extend(misnamed_package(folder, present) for present in _misnamed(folder))
                continue
            reading = self._read(manifest, readings)
            directories.update(path for near in looked_at(reading.data, folder) for path in _watchable(near))
            packages.append(found_package(folder, reading))
        self._readings, self._directories = readings, frozenset(directories)
        self._had_packages = bool(packages)
        return tuple(packages)

    def _folders(self) -> list[Path]:
        try:
            with os.scandir(self._root) as entries:
                names = sorted(entry.name for entry in entries)
        except FileNotFoundError as error:
            if not self._had_packages:
                return []
            # Moved, checked out anew or not mounted: it is likelier to come back than to be a wish to stop every agent.
            raise UnavailableError(
                f"package folder {self._root} is gone; bring it back, or make it anew and empty to have no packages"
            ) from error
        except OSError as error:
            reason = error.strerror or error
            raise UnavailableError(
                f"package folder {self._root} cannot be listed: {reason}; check what it is and who may read it"
            ) from error
        folders = (self._root / name for name in names if name not in SKIPPED and not name.startswith("."))
        # `DirEntry.is_dir` raises for a link in a loop, and one bad entry must not hide the others.
        return [folder for folder in folders if os.path.isdir(folder)]

    def _read(self, manifest: Path, readings: dict[str, tuple[Signature, Reading]]) -> Reading:
        """The manifest's reading, the earlier one where nothing has changed; kept in `readings` for the next scan."""
        name = manifest.parent.name
        try:
            signature = signature_of(manifest)
        except OSError:
            return read_manifest(manifest)
        known = self._readings.get(name)
        reading = known[1] if known is not None and known[0] == signature else read_manifest(manifest)
        if signature.settled:
            readings[name] = (signature, reading)
        return reading


def _watchable(folder: Path) -> tuple[Path, ...]:
    """The folder, if it can be watched: one that is not readable, or not UTF-8, would cost all others their watch."""
    readable = os.path.isdir(folder) and os.access(folder, os.R_OK | os.X_OK)
    return (folder,) if readable and printable(str(folder)) == str(folder) else ()


def _misnamed(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name.lower() in _MISNAMED)[:1]
    except OSError:
        # A folder that vanishes or may not be listed has no manifest to speak of.
        return []
