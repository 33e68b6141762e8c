"""Forking away: a child that becomes the launcher's, the subreaper's, because the one between has ended."""

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
    descriptor is: outside where a filter of system calls does not have `clone3`. It is in the process group of the one
    between: the end of whoever calls this is not its end. The caller has one thread. Raises OSError.
    """
    if cgroup is not None:
        with contextlib.suppress(OSError):
            return _fork_away(cgroup)
    return _fork_away(None)


def _fork_away(cgroup: int | None) -> Birth | None:
    between = _fork_twice(cgroup) if linux.vfork is None else linux.vfork.fork_away(-1 if cgroup is None else cgroup)
    return Birth(between, in_cgroup=cgroup is not None) if between else None


def _fork_twice(cgroup: int | None) -> int:
    between = os.fork() if cgroup is None else linux.fork_into(cgroup)
    if between == 0:
        between = os.getpid()
        try:
            os.setpgid(0, 0)
            if os.fork() == 0:
                return between
        except OSError as error:
            os._exit(error.errno or errno.EAGAIN)
        os._exit(0)
    _, status = os.waitpid(between, 0)
    if status != 0:
        number = os.waitstatus_to_exitcode(status)
        raise OSError(number, os.strerror(number))
    return 0
