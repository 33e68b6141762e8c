"""Forks: into cgroups, and away: a child that becomes the launcher's, because the one between has ended."""

import contextlib
import errno
import os
from dataclasses import dataclass

from agent_manager.launcher import linux


@dataclass(frozen=True, slots=True)
class Birth:
    """What a new process is told: which one is its parent for a moment, and whether that is in the cgroup asked for."""

    between: int
    in_cgroup: bool


def fork_away(cgroup: int | None) -> Birth | None:
    """Fork a process that becomes the subreaper's as soon as the one between has ended; None in this process.

    It comes from an ordinary fork, of which all libraries are told, by way of one in the cgroup whose directory this
    descriptor is: outside where it cannot be born there. It is in the process group of the one between: the end of
    whoever calls this is not its end. The caller has one thread. Raises OSError; where the process between was killed,
    there may be a new one all the same.
    """
    found = _fork_twice(cgroup) if linux.vfork is None else linux.vfork.fork_away(-1 if cgroup is None else cgroup)
    return None if found is None else Birth(*found)


def _fork_twice(cgroup: int | None) -> tuple[int, bool] | None:
    pid, in_cgroup = fork(cgroup)
    if pid == 0:
        between = os.getpid()
        try:
            os.setpgid(0, 0)
            if os.fork() == 0:
                return between, in_cgroup
        except OSError as error:
            os._exit(error.errno or errno.EAGAIN)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    number = os.waitstatus_to_exitcode(status)
    if number != 0:
        raise OSError(number, os.strerror(number)) if number > 0 else InterruptedError(f"killed by signal {-number}")
    return None


def fork(cgroup: int | None) -> tuple[int, bool]:
    """The pid as of `os.fork`, and whether the child was born in the cgroup. Raises OSError."""
    if cgroup is not None:
        # Where a filter of system calls does not have it, the child enters by itself.
        with contextlib.suppress(OSError):
            return linux.fork_into(cgroup), True
    return os.fork(), False
