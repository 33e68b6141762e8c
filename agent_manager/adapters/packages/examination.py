"""Looking at one folder on its own, as a node would, without one."""

from __future__ import annotations

import os
from pathlib import Path

from agent_manager.adapters.packages.folder_source import without_manifest
from agent_manager.adapters.packages.folder_tree import MAX_BYTES
from agent_manager.adapters.packages.manifest_file import MANIFEST_NAME
from agent_manager.adapters.packages.package_folder import unreadable_package
from agent_manager.adapters.packages.reading_queue import ReadingQueue
from agent_manager.adapters.packages.settling import Patience
from agent_manager.adapters.packages.watched_folder import WatchedFolder
from agent_manager.domain.agents import ManifestFault
from agent_manager.ports.packages import FoundPackage, Stage


def examine(folder: Path) -> FoundPackage:
    """The package in this folder, with all its faults. What only other folders show (a taken agent id) is not seen."""
    folder = Path(os.path.abspath(folder))
    if not folder.is_dir():
        return _faulty(folder, "is no folder: name the one with the agent.yaml", "a package folder")
    if not os.path.lexists(folder / MANIFEST_NAME):
        if (faulty := without_manifest(folder)) is not None:
            return faulty
        message = f"has no {MANIFEST_NAME}: `agent-manager package new` makes a package with one"
        return _faulty(folder, message, MANIFEST_NAME)
    watched = WatchedFolder(
        folder=folder,
        patience=Patience(quiet_s=0.0),
        queue=ReadingQueue(lambda: None),
        inline_bytes=MAX_BYTES,
    )
    try:
        found = watched.look()
    except OSError as error:
        return unreadable_package(folder, error)
    if found.stage is Stage.SETTLING:
        return _faulty(folder, "changes while it is looked at: try again once it is at rest", "a folder at rest")
    return found


def _faulty(folder: Path, message: str, expected: str) -> FoundPackage:
    fault = ManifestFault(file=str(folder), message=message, expected=expected)
    return FoundPackage(name=folder.name, path=str(folder), spec=None, faults=(fault,))
