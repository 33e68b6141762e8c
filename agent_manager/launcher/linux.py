"""System calls of Linux that the standard library does not offer, or not as cheaply.

`prctl`, `timerfd`, `clone3`; `sigprocmask`, of whose result Python makes an object for each of 64 signals; and what
takes C, where it could be compiled (`_vfork`).
"""

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Iterator

try:
    from agent_manager.launcher import _vfork
except ImportError:  # it was installed where there is no compiler, or for a machine that it is not written for
    _vfork = None  # type: ignore[assignment]  # so much the slower

vfork = _vfork
"""Children that copy nothing, as by `vfork(2)`; None where there is no such module."""

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_TFD_TIMER_ABSTIME = 1
_SYS_CLONE3 = 435
_CLONE_INTO_CGROUP = 0x2_0000_0000

_SignalSet = ctypes.c_uint64 * 16
_ALL_SIGNALS, _NO_SIGNAL = _SignalSet(*[2**64 - 1] * 16), _SignalSet()

_libc = ctypes.CDLL(None, use_errno=True)
_libc_holding_gil = ctypes.PyDLL(None, use_errno=True)


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class _CloneArguments(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in (
            *("flags", "pidfd", "child_tid", "parent_tid", "exit_signal"),
            *("stack", "stack_size", "tls", "set_tid", "set_tid_size", "cgroup"),
        )
    )


def fork_into(cgroup: int) -> int:
    """Fork into the cgroup whose directory this descriptor is (`clone3(2)`, Linux 5.7); returns as `os.fork`.

    A process that enters one later waits until all processors have taken note (`cgroup_threadgroup_rwsem`): for
    milliseconds. Neither Python nor the C library knows of this fork, and calls nothing that was to be called at forks:
    the child may fork once more as usual, or execute. The caller has one thread. Raises OSError.
    """
    arguments = _CloneArguments(flags=_CLONE_INTO_CGROUP, exit_signal=signal.SIGCHLD, cgroup=cgroup)
    return _check(_libc_holding_gil.syscall(_SYS_CLONE3, ctypes.byref(arguments), ctypes.sizeof(arguments)))


@contextlib.contextmanager
def signals_blocked() -> Iterator[None]:
    """No signal is delivered meanwhile."""
    before = _SignalSet()
    _libc.sigprocmask(int(signal.SIG_SETMASK), _ALL_SIGNALS, before)
    try:
        yield
    finally:
        _libc.sigprocmask(int(signal.SIG_SETMASK), before, None)


def unblock_signals() -> None:
    """Every signal is delivered from now on."""
    _libc.sigprocmask(int(signal.SIG_SETMASK), _NO_SIGNAL, None)


def become_subreaper() -> None:
    """Make orphaned descendants children of this process instead of the system's init. Raises OSError."""
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent dies; end now if that has happened already. Raises OSError."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0))
    if os.getppid() != parent_pid:
        os._exit(1)


def forbid_new_privileges() -> None:
    """From now on no program executed here gains what this process does not have, by set-user-id or else.

    Raises OSError.
    """
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def boottime_timer() -> int:
    """A timer descriptor on CLOCK_BOOTTIME, which goes on while the machine is suspended. Raises OSError."""
    return _check(_libc.timerfd_create(time.CLOCK_BOOTTIME, os.O_NONBLOCK | os.O_CLOEXEC))


def arm_timer(timer: int, at: float | None) -> None:
    """Make the descriptor readable at this moment (seconds of its clock; a past one: now), or never. Raises OSError."""
    nanoseconds = 0 if at is None else max(1, round(at * 1e9))
    spec = _TimerSpec(_Timespec(0, 0), _Timespec(*divmod(nanoseconds, 1_000_000_000)))
    _check(_libc.timerfd_settime(timer, _TFD_TIMER_ABSTIME, ctypes.byref(spec), None))


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
