"""The node's files: data directory, keys, packages."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from agent_manager.adapters import installation
from agent_manager.adapters.nats.embedded import NatsFiles
from agent_manager.adapters.nats.keyring import load_keyring
from agent_manager.adapters.packages.examination import examine
from agent_manager.adapters.packages.folder_source import package_folders
from agent_manager.doctor.findings import Finding, Patient, fault, ok, warning
from agent_manager.domain.errors import AgentManagerError


def data_directory(patient: Patient) -> Iterator[Finding]:
    """Whether it can be used, and by nobody else."""
    directory = patient.settings.data_dir
    if not directory.exists():
        parent = next(each for each in directory.parents if each.exists())
        if os.access(parent, os.W_OK | os.X_OK):
            yield ok("data directory", f"{directory} is not there yet; the first start makes it")
        else:
            yield fault(
                "data directory",
                f"{directory} is not there and cannot be made in {parent}",
                "make it and give it to the user of the node, or name another (data_dir)",
            )
        return
    if not directory.is_dir() or not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        yield fault(
            "data directory",
            f"{directory} is no directory that this user can write",
            "give it to the user of the node (chown), or name another (data_dir)",
        )
        return
    others = stat.S_IMODE(directory.stat().st_mode) & 0o077
    if others:
        yield fault(
            "data directory",
            f"{directory} is open to other users (mode {stat.S_IMODE(directory.stat().st_mode):o}): it holds keys",
            f"chmod 700 {directory}; if others could read it, begin with new keys",
        )
    try:
        node = installation.load(directory)
    except AgentManagerError as error:
        yield fault("installation", error.message, "see the message")
        return
    if node is not None:
        yield ok("data directory", f"{directory}, node {node.node_id}, cluster {node.cluster_id}")
    elif not others:
        yield ok("data directory", f"{directory} is empty; the first start fills it")


def keys(patient: Patient) -> Iterator[Finding]:
    """The keys of the embedded server, without which nobody can log on."""
    files = NatsFiles(data_dir=patient.settings.data_dir)
    if patient.settings.nats.is_external or not files.keys.exists():
        return
    try:
        load_keyring(files.keys)
    except AgentManagerError as error:
        yield fault("keys", error.message, "restore the file from a backup")
        return
    loose = [path for path in _files_below(files.directory) if _is_open_to_others(path)]
    if loose:
        yield fault(
            "keys",
            f"{loose[0]} can be read by other users: it is a secret",
            f"chmod 600 {loose[0]}; if others have read it, begin with new keys",
        )
    else:
        yield ok("keys", f"complete and private in {files.keys}")


def packages(patient: Patient) -> Iterator[Finding]:
    """The packages folder, and every manifest in it."""
    folder = patient.settings.packages_dir
    if not folder.is_dir():
        yield fault(
            "packages",
            f"the folder {folder} is not there",
            "make it, mount it, or name another (packages_dir, --packages)",
        )
        return
    try:
        folders = package_folders(folder, sorted(os.listdir(folder)))
    except OSError as error:
        yield fault("packages", f"{folder} cannot be listed: {error.strerror or error}", "check who may read it")
        return
    found = [found for each in folders if (found := examine(each)).spec is not None or found.faults]
    for package in found:
        for wrong in package.faults:
            place = f"{wrong.file}:{wrong.line}" if wrong.line else wrong.file
            yield fault(f"package {package.name}", f"{place}: {wrong.message}", f"mend {wrong.file}")
    good = sum(1 for package in found if package.spec is not None)
    if not found:
        yield warning("packages", f"{folder} has none", "copy a package into it: a folder with an agent.yaml")
    elif good:
        yield ok("packages", f"{good} of {len(found)} in {folder} are valid")


def _files_below(directory: Path) -> list[Path]:
    keys = sorted((directory / "keys").glob("*.nk"))
    return [*keys, *sorted(directory.glob("*.creds"))]


def _is_open_to_others(path: Path) -> bool:
    return bool(stat.S_IMODE(path.stat().st_mode) & 0o077)
