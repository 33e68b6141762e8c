"""The node's own files: data directory and keys."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from agent_manager.adapters import installation
from agent_manager.adapters.nats.embedded import NatsFiles
from agent_manager.adapters.nats.keyring import load_keyring
from agent_manager.doctor.findings import Finding, Patient, fault, ok
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
    for path in loose:
        yield fault(
            "keys",
            f"{path} can be read by other users: it is a secret",
            f"chmod 600 {path}; if others have read it, begin with new keys",
        )
    if not loose:
        yield ok("keys", f"complete and private in {files.keys}")


def _files_below(directory: Path) -> list[Path]:
    keys = sorted((directory / "keys").glob("*.nk"))
    return [*keys, *sorted(directory.glob("*.creds"))]


def _is_open_to_others(path: Path) -> bool:
    return bool(stat.S_IMODE(path.stat().st_mode) & 0o077)
