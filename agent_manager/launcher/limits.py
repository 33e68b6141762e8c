"""What a program may use, and as whom it runs."""

import os
import resource
from dataclasses import dataclass

from agent_manager.launcher import linux

_CPU_GRACE_S = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one launch; None is none. `cpu` is a number of processors, `cpu_seconds` the time it may use in all.

    `memory_bytes`, `cpu` and `processes` hold for the whole tree where a cgroup bounds it. Without one, memory bounds
    the data of each process, `processes` those of the user (never root's), and `cpu` bounds nothing.
    """

    memory_bytes: int | None = None
    cpu: float | None = None
    processes: int | None = None
    open_files: int | None = None
    cpu_seconds: int | None = None
    nice: int | None = None


UNLIMITED = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Whom a program runs as."""

    uid: int
    gid: int
    groups: tuple[int, ...]


def limit(limits: Limits, *, open_files: tuple[int, int], bounded_by_cgroup: frozenset[str]) -> None:
    """Bound this process and what it will start. `open_files` holds where no limit says otherwise.

    Raises ValueError for a limit that cannot be set, by its name.
    """
    soft, hard = open_files if limits.open_files is None else (limits.open_files, limits.open_files)
    _set("open_files", resource.RLIMIT_NOFILE, soft, hard)
    if limits.memory_bytes is not None and "memory" not in bounded_by_cgroup:
        _set("memory_bytes", resource.RLIMIT_DATA, limits.memory_bytes, limits.memory_bytes)
    if limits.processes is not None and "pids" not in bounded_by_cgroup:
        _set("processes", resource.RLIMIT_NPROC, limits.processes, limits.processes)
    if limits.cpu_seconds is not None:
        _set("cpu_seconds", resource.RLIMIT_CPU, limits.cpu_seconds, limits.cpu_seconds + _CPU_GRACE_S)
    if limits.nice is not None:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, limits.nice)
        except OSError as error:
            raise ValueError(f"nice {limits.nice}: {error.strerror}") from error


def _set(name: str, resource_limit: int, soft: int, hard: int) -> None:
    try:
        resource.setrlimit(resource_limit, (soft, hard))
    except (OSError, ValueError) as error:
        raise ValueError(f"{name} {soft}: {error}") from error


def become_user(user: User | None, *, no_new_privileges: bool) -> None:
    """Take on a user's identity, for good. Raises OSError."""
    if user is not None and (user.uid, user.gid) != (os.geteuid(), os.getegid()):
        os.setgroups(user.groups)
        os.setresgid(user.gid, user.gid, user.gid)
        os.setresuid(user.uid, user.uid, user.uid)
    if no_new_privileges:
        linux.forbid_new_privileges()
