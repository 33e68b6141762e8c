"""The machine: what the kernel allows a supervisor here."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from agent_manager.doctor.findings import Finding, Patient, fault, ok, warning
from agent_manager.doctor.node import state_of

MIN_OPEN_FILES = 4_096
"""A launcher with a few hundred instances holds four descriptors for each."""
MIN_FREE_BYTES = 200 * 1024 * 1024
MIN_WATCHES = 8_192

_INOTIFY = Path("/proc/sys/fs/inotify")
_MOUNTS = Path("/proc/self/mounts")
_OWN_CGROUPS = Path("/proc/self/cgroup")

_UNBOUND = {
    "cpu": "`cpu` bounds nothing",
    "memory": "`memory_mb` bounds the data of each process, not the tree",
    "pids": "`processes` bounds those of the user, and nothing for root",
}
"""By controller: what becomes of the limits of agents where cgroups do not have it."""


def python_and_kernel(patient: Patient) -> Iterator[Finding]:
    """Versions, and what the launcher is built on."""
    version = platform.python_version()
    if sys.platform != "linux":
        yield fault("host", f"this is {sys.platform}", "run the node on Linux: the launcher is a Linux init")
        return
    if not hasattr(os, "pidfd_open") or not Path("/proc/self/stat").exists():
        yield fault("host", "the kernel lacks pidfd or /proc", "use Linux 5.3 or newer with /proc mounted")
        return
    yield ok("host", f"Python {version} on Linux {platform.release()}")


def open_files(patient: Patient) -> Iterator[Finding]:
    """The limit of descriptors: one that is too low shows as agents that cannot be started."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < MIN_OPEN_FILES:
        yield warning(
            "open files",
            f"a process may open {soft} files (hard limit {hard}); an instance takes four of the launcher's",
            f"raise it to {MIN_OPEN_FILES} or more: `ulimit -n`, or LimitNOFILE= in the unit",
        )
    else:
        yield ok("open files", f"up to {soft}")


def watches(patient: Patient) -> Iterator[Finding]:
    """inotify: without watches changed packages are noticed at the discovery interval only."""
    try:
        allowed = int((_INOTIFY / "max_user_watches").read_text())
        instances = int((_INOTIFY / "max_user_instances").read_text())
    except (OSError, ValueError):
        yield warning(
            "file watches",
            "the kernel does not say how many files may be watched",
            "nothing, if changed packages are noticed; otherwise lower service.discovery_interval",
        )
        return
    if allowed < MIN_WATCHES or instances < 16:
        yield warning(
            "file watches",
            f"a user may watch {allowed} files with {instances} watchers",
            "raise fs.inotify.max_user_watches and fs.inotify.max_user_instances with sysctl",
        )
    else:
        yield ok("file watches", f"up to {allowed}")


def disk(patient: Patient) -> Iterator[Finding]:
    """Space where database, streams and logs grow."""
    directory = _existing(patient.settings.data_dir)
    usage = shutil.disk_usage(directory)
    inodes = os.statvfs(directory)
    free = f"{usage.free / 1024**2:.0f} MiB free at {directory}"
    if usage.free < MIN_FREE_BYTES:
        yield fault(
            "disk",
            f"only {free}: database and streams refuse what they cannot keep, and output of agents is dropped",
            "free some space, or move the data directory (data_dir) to a larger disk",
        )
    elif inodes.f_files and inodes.f_favail < 1_000:
        yield fault("disk", f"only {inodes.f_favail} inodes left at {directory}", "remove files that nobody needs")
    else:
        yield ok("disk", free)


def isolation(patient: Patient) -> Iterator[Finding]:
    """Whether agents could be kept apart from the manager, bounded, and ended for certain."""
    state = (state_of(patient.settings.data_dir) if patient.is_running else None) or {}
    controllers = state.get("cgroups")
    if controllers is not None:
        yield ok("process trees", "each launch has a cgroup of its own")
    elif "cgroups" not in state and any(_writable_cgroups()):
        yield ok("process trees", "cgroup v2 can be written; a node that runs says what it has of it")
    else:
        yield warning(
            "process trees",
            "there is no cgroup v2 that can be written: what an agent starts is found by group, session and "
            "environment, which a process that hides on purpose escapes",
            "run the node under systemd with Delegate=yes, or in a container with a writable cgroup",
        )
    missing = [words for controller, words in _UNBOUND.items() if controller not in (controllers or ())]
    if "cgroups" in state and missing:
        yield warning(
            "limits",
            f"cgroups do not bound everything here: {'; '.join(missing)}",
            "hand the controllers down to the node: Delegate=yes in the unit, or a container with its own cgroup",
        )
    yield warning(
        "isolation",
        "agents run as the same user as the manager and can read its files",
        "run only agents you trust; give the node a user of its own",
    )


def _writable_cgroups() -> Iterator[Path]:
    """Where a node that was started from here would make its own."""
    try:
        own = next(line[3:] for line in _OWN_CGROUPS.read_text("utf-8").splitlines() if line.startswith("0::"))
        mounts = _MOUNTS.read_text("utf-8").splitlines()
    except (OSError, StopIteration):
        return
    for _, mount_point, filesystem, *_rest in map(str.split, mounts):
        path = Path(f"{mount_point}/{own}")
        if filesystem == "cgroup2" and os.access(path / "cgroup.procs", os.W_OK):
            yield path


def _existing(path: Path) -> Path:
    return next(each for each in (path, *path.parents) if each.exists())
