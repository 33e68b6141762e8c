"""Fork and exec: the few steps between the launcher and somebody else's program."""

import contextlib
import os
import resource
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

from agent_manager.launcher import linux
from agent_manager.launcher.becoming import (
    CONTROL_DESCRIPTOR,
    REPORT_LIMIT_BYTES,
    Program,
    Step,
    StepError,
    become,
    raise_descriptor_limit,
)
from agent_manager.launcher.forking import fork
from agent_manager.launcher.limits import UNLIMITED

_RESETTABLE_SIGNALS = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}


@dataclass(frozen=True, slots=True)
class SpawnFailure:
    """Which step failed (`fork`, `output`, `limits`, `user`, `cwd` or `exec`), and why."""

    step: str
    reason: str

    def __str__(self) -> str:
        return f"{self.step} failed: {self.reason}"

    @classmethod
    def told(cls, report: bytes) -> "SpawnFailure":
        """As the child has reported it."""
        step, _, reason = report.decode(errors="replace").partition("\n")
        return cls(step, reason)


class ExecStatus:
    """Tells how the exec of a child goes: readable (`fileno`) as soon as that is known, and to be closed then."""

    def __init__(self, descriptor: int, memory: object = None) -> None:
        """`descriptor` does not block; `memory` is what the child needs until it has executed or ended."""
        self._descriptor = descriptor
        self._memory = memory
        self._report = b""

    def fileno(self) -> int:
        """The descriptor, to be watched."""
        return self._descriptor

    def read(self, *, ended: bool = False) -> SpawnFailure | None:
        """How the exec went: `None` when it succeeded. Raises BlockingIOError while that is open.

        It is open no longer once the child has `ended`, though its zygote may not have closed the other end yet.
        """
        try:
            # Only its end says that the child has left the memory, whatever it has written before.
            while part := os.read(self._descriptor, REPORT_LIMIT_BYTES):
                self._report += part
        except BlockingIOError:
            if not ended:
                raise
        return SpawnFailure.told(self._report) if self._report else None

    def close(self) -> None:
        """Give it up: the child has executed or ended."""
        os.close(self._descriptor)
        self._memory = None


class Spawner:
    """Starts programs in sessions of their own, with defaults for everything a process inherits."""

    def __init__(self, open_files: tuple[int, int] | None = None) -> None:
        """Prepare this process: no low descriptor free, none inheritable, as many as allowed. Raises OSError.

        `open_files` are the limits that programs get; None: those of this process, as they are before.
        """
        _occupy_low_descriptors()
        _forbid_inheritance()
        self._launcher_pid = os.getpid()
        self.open_files = open_files or resource.getrlimit(resource.RLIMIT_NOFILE)
        raise_descriptor_limit()

    def spawn(self, program: Program) -> tuple[int, ExecStatus]:
        """Start a program; its pid, and how that goes. Raises OSError."""
        status, status_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            pid, memory = self._start(program, status_writer)
        except BaseException:
            os.close(status)
            raise
        finally:
            os.close(status_writer)
        return pid, ExecStatus(status, memory)

    def _start(self, program: Program, status_writer: int) -> tuple[int, object]:
        if linux.vfork is not None and _is_plain(program):
            # Where an argument holds a null byte, or there can be no process: it will be told there.
            with contextlib.suppress(OSError, ValueError):
                return self._vfork(program, status_writer)
        return self._fork(program, status_writer), None

    def _vfork(self, program: Program, status_writer: int) -> tuple[int, object]:
        name = program.argv[0]
        soft, hard = self.open_files
        given = (program.stdout, program.stderr, program.control)
        return linux.vfork.spawn(
            tuple(map(os.fsencode, program.argv)),
            tuple(os.fsencode(f"{key}={value}") for key, value in program.env.items()),
            tuple(map(os.fsencode, _candidates(name, program.env))),
            os.fsencode(program.cwd),
            f"cwd\n{program.cwd!r}: ".encode(errors="replace"),
            f"exec\n{name!r}: ".encode(errors="replace"),
            tuple(-1 if each is None else each for each in given),
            status_writer,
            self._launcher_pid if program.dies_with_launcher else 0,
            program.no_new_privileges,
            soft,
            hard,
            -1 if program.cgroup is None else program.cgroup,
        )

    def _fork(self, program: Program, status_writer: int) -> int:
        # Before the fork: afterwards every page that is written to is copied.
        handled = [number for number in _RESETTABLE_SIGNALS if signal.getsignal(number) is not signal.SIG_DFL]
        # One that arrived between fork and exec would be handled by the launcher's handlers, in the child.
        with linux.signals_blocked():
            pid, in_cgroup = fork(program.cgroup)
            if pid == 0:
                self._become(program, status_writer, handled, in_cgroup=in_cgroup)
        return pid

    def _become(self, program: Program, status_writer: int, handled: Sequence[int], *, in_cgroup: bool) -> NoReturn:
        try:
            program = replace(program, cgroup=None) if in_cgroup else program
            become(program, launcher_pid=self._launcher_pid, open_files=self.open_files)
            with Step("exec", program.argv[0]):
                for number in handled:
                    signal.signal(number, signal.SIG_DFL)
                linux.unblock_signals()
                os.execvpe(program.argv[0], program.argv, program.env)
        except StepError as error:
            os.write(status_writer, error.report)
        finally:
            os._exit(127)


def _is_plain(program: Program) -> bool:
    """Whether it may be started in the launcher's memory.

    Not within bounds of its own: whoever is ended for want of memory takes along all who share it. Nor as another user,
    who must not reach it.
    """
    return program.user is None and program.limits == UNLIMITED


def _candidates(name: str, env: Mapping[str, str]) -> list[str]:
    """The files that may be meant, as `os.execvpe` tries them."""
    return [name] if "/" in name else [os.path.join(directory, name) for directory in os.get_exec_path(env)]


def _occupy_low_descriptors() -> None:
    """Nothing of the launcher's may have a number that is given to a program."""
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
