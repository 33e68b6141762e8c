"""Fork and exec: the few steps between the launcher and somebody else's program."""

import os
import resource
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from agent_manager.launcher import linux

CONTROL_DESCRIPTOR = 3
"""Where a child finds the socket it was given."""

_ALL_SIGNALS = frozenset(signal.valid_signals())
_RESETTABLE_SIGNALS = _ALL_SIGNALS - {signal.SIGKILL, signal.SIGSTOP}
_REASON_LIMIT = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to execute, with a complete environment.

    The descriptors are numbers of the launcher's; without them the program has its standard output and error.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    stdout: int | None = None
    stderr: int | None = None
    control: int | None = None
    dies_with_launcher: bool = True


@dataclass(frozen=True, slots=True)
class SpawnFailure:
    """Which step failed (`output`, `fork`, `cwd` or `exec`), and why."""

    step: str
    reason: str

    def __str__(self) -> str:
        return f"{self.step} failed: {self.reason}"


class Spawner:
    """Starts programs in sessions of their own, with defaults for everything a process inherits."""

    def __init__(self) -> None:
        """Prepare this process: no low descriptor free, none inheritable, as many as allowed. Raises OSError."""
        _occupy_low_descriptors()
        _forbid_inheritance()
        self._launcher_pid = os.getpid()
        self._inherited_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        raise_descriptor_limit()

    def spawn(self, program: Program) -> tuple[int, int]:
        """Fork; the pid, and a non-blocking descriptor that tells how the exec went (`read_status`). Raises OSError."""
        status, status_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        # A signal that arrived between fork and exec would be handled by the launcher's handlers, in the child.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _ALL_SIGNALS)
        try:
            pid = os.fork()
            if pid == 0:
                self._become(program, status_writer)
        except OSError:
            os.close(status)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            os.close(status_writer)
        return pid, status

    def _become(self, program: Program, status_writer: int) -> NoReturn:
        step = "fork"
        try:
            os.setsid()
            if program.dies_with_launcher:
                linux.die_with_parent(self._launcher_pid)
            resource.setrlimit(resource.RLIMIT_NOFILE, self._inherited_limit)
            step = "output"
            _place_descriptors(program)
            step = "cwd"
            os.chdir(program.cwd)
            step = "exec"
            for number in _RESETTABLE_SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            os.execvpe(program.argv[0], program.argv, program.env)
        except BaseException as error:
            os.write(status_writer, f"{step}\n{_reason(step, program, error)}".encode(errors="replace")[:_REASON_LIMIT])
        finally:
            os._exit(127)


def raise_descriptor_limit() -> None:
    """Allow this process as many descriptors as possible. Raises OSError."""
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))


def read_status(status: int) -> SpawnFailure | None:
    """How the exec went: `None` when it succeeded. Raises BlockingIOError while that is open."""
    report = os.read(status, _REASON_LIMIT).decode(errors="replace")
    if not report:
        return None
    step, _, reason = report.partition("\n")
    return SpawnFailure(step, reason)


def _place_descriptors(program: Program) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (program.stdout, 1), (program.stderr, 2), (program.control, CONTROL_DESCRIPTOR)):
        if source is not None:
            os.dup2(source, target)


def _reason(step: str, program: Program, error: BaseException) -> str:
    subject = {"cwd": program.cwd, "exec": program.argv[0]}.get(step)
    why = error.strerror if isinstance(error, OSError) else str(error)
    return f"{subject!r}: {why}" if subject else str(error)


def _occupy_low_descriptors() -> None:
    """Nothing of the launcher's may have a number that `_place_descriptors` overwrites."""
    while (null := os.open(os.devnull, os.O_RDWR)) <= CONTROL_DESCRIPTOR:
        pass
    os.close(null)


def _forbid_inheritance() -> None:
    """Whoever started the launcher may have left descriptors open; standard ones apart they are nobody's business."""
    for name in os.listdir("/proc/self/fd"):
        descriptor = int(name)
        if descriptor > 2:
            _close_on_exec(descriptor)


def _close_on_exec(descriptor: int) -> None:
    try:
        os.set_inheritable(descriptor, False)
    except OSError:
        return  # the one that listed the directory is closed by now
