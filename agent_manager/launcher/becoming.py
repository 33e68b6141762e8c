"""What a forked process does on its way to its program, whether that is executed or run by a warm interpreter."""

import contextlib
import os
import resource
import select
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType

from agent_manager.launcher import linux
from agent_manager.launcher.limits import UNLIMITED, Limits, User, become_user, limit

CONTROL_DESCRIPTOR = 3
"""Where a child finds the socket it was given."""

LAUNCH_ID_VARIABLE = "AGENT_LAUNCH_ID"
"""By this an instance, and what it starts, can be told from others."""

REPORT_LIMIT_BYTES = 2048
"""The longest report of a step that failed."""

_REPARENTING_PAUSE_S = 0.0001


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run, with a complete environment.

    The descriptors are numbers of the process that is to become it; without them the program has the standard output
    and error of the launcher. `user` None: the launcher's. `cgroup` is the directory of the one it is yet to enter;
    in the one it is in then, these controllers bound it.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    stdout: int | None = None
    stderr: int | None = None
    control: int | None = None
    dies_with_launcher: bool = True
    limits: Limits = UNLIMITED
    user: User | None = None
    no_new_privileges: bool = False
    cgroup: int | None = None
    bounded_by_cgroup: frozenset[str] = frozenset()


class StepError(Exception):
    """A step on the way to the program failed: which one, and why."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.report = f"{name}\n{reason}".encode(errors="replace")[:REPORT_LIMIT_BYTES]


class Step:
    """Something that may fail, and what it is done with. Its exit raises StepError.

    A class and no generator: each page of memory that a forked process writes to is copied first.
    """

    __slots__ = ("_name", "_subject")

    def __init__(self, name: str, subject: str | None = None) -> None:
        self._name = name
        self._subject = subject

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        if error is not None:
            subject = repr(self._subject) if self._subject else getattr(error, "filename", None)
            why = (error.strerror if isinstance(error, OSError) else None) or str(error) or "unknown"
            raise StepError(self._name, f"{subject}: {why}" if subject else why) from error


def become(program: Program, *, launcher_pid: int, open_files: tuple[int, int]) -> None:
    """Turn this process into what the program expects, up to running it. Raises StepError.

    `open_files` are the limits of descriptors, soft and hard.
    """
    with Step("fork"):
        os.setsid()
    with Step("output"):
        _place_descriptors(program)
    with Step("limits"):
        if program.cgroup is not None:
            _enter(program.cgroup)
        # After all that opens something: beside the launcher's descriptors there may be no room below the limit.
        limit(program.limits, open_files=open_files, bounded_by_cgroup=program.bounded_by_cgroup)
    with Step("user"):
        become_user(program.user, no_new_privileges=program.no_new_privileges)
        if program.dies_with_launcher:
            # A change of the user would take it back.
            linux.die_with_parent(launcher_pid)
    with Step("cwd", program.cwd):
        os.chdir(program.cwd)


def await_launcher(intermediate_pid: int) -> None:
    """Wait until the process that forked this one has ended, so that the launcher is the parent."""
    with contextlib.suppress(OSError):  # it has ended, or a filter of system calls forbids it
        ended = os.pidfd_open(intermediate_pid)
        try:
            # As long as it is the parent, the number is nobody else's.
            if os.getppid() == intermediate_pid:
                poll = select.poll()
                poll.register(ended, select.POLLIN)
                poll.poll()
        finally:
            os.close(ended)
    while os.getppid() == intermediate_pid:
        time.sleep(_REPARENTING_PAUSE_S)


def raise_descriptor_limit() -> None:
    """Allow this process as many descriptors as possible. Raises OSError."""
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))


def _enter(cgroup: int) -> None:
    entrance = os.open("cgroup.procs", os.O_WRONLY | os.O_CLOEXEC, dir_fd=cgroup)
    os.write(entrance, b"0")
    os.close(entrance)


def _place_descriptors(program: Program) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (program.stdout, 1), (program.stderr, 2), (program.control, CONTROL_DESCRIPTOR)):
        if source is not None:
            os.dup2(source, target)
