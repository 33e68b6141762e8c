"""The zygote: an interpreter that has imported what agents need, and forks them when the launcher asks it to.

`python zygote.py ROOM [MODULE…]`: modules to import, whose `before_fork()`, where they have one, is called a dozen
times; and an argument that is long enough for the command line of any agent (`process_text`). It runs as a script, so
that the one frame below those of an agent is this module's.

The launcher talks to it over a SOCK_SEQPACKET socket: each message passes on one end of a socket pair, for one
instance, and the directory of the cgroup it may be born in, where there is one. The socket already holds the order,
as one message: JSON in a file without a name, and the descriptors of the output and of the instance's cgroup. Only the
instance reads it, so nothing of it passes through the memory of the zygote. The instance answers `here`, with its
credentials, once it takes the order on; then a report if a step fails; then the end, when its program runs. One that
ends it without having been `here` could not, or should not, be forked: it is to be executed.
"""

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    del sys.path[0]  # where this module lies, whose neighbours are nobody's to import
_AT_START = frozenset(sys.modules)

# ruff: noqa: E402 - what comes first decides where these are found
import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import os
import signal
import socket
import time
import traceback
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


def _end_as_interrupted() -> None:
    """A KeyboardInterrupt that nobody caught ends Python by the signal it stands for."""
    if getattr(sys, "last_type", None) is KeyboardInterrupt:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    atexit.register(_end_as_interrupted)  # first, so that it is carried out last

from agent_manager.launcher import memory_layout, process_text
from agent_manager.launcher.becoming import (
    CONTROL_DESCRIPTOR,
    LAUNCH_ID_VARIABLE,
    Program,
    Step,
    StepError,
    await_launcher,
    become,
)
from agent_manager.launcher.descriptor_passing import receive
from agent_manager.launcher.forking import Birth, fork_away
from agent_manager.launcher.limits import Limits

HERE = b"here"
"""The first answer of an instance."""

_MESSAGE_LIMIT_BYTES = 16
_LOOK_INTERVAL_S = 1.0
_REHEARSALS = 10
"""How often what is shared is played through once it has its place: CPython 3.11 adapts code at the eighth call."""
_LONGEST_REHEARSALS_S = 3.0
"""Somebody may be waiting already; what is not done by then is not shared."""

_TOLD_BY = (LAUNCH_ID_VARIABLE, "AGENT_MANAGER_")
"""By these the launcher tells whose a process is."""

_CANNOT_OPEN = 2
"""How Python ends that was told to run a file it cannot open."""


class StaleError(Exception):
    """What was imported is no longer what lies on the disk."""


class UnfitError(Exception):
    """A forked instance would not be what an executed one is."""


@dataclass(frozen=True, slots=True)
class Order:
    """What an instance is to become, and where it says how that goes."""

    answers: socket.socket
    program: Program
    launcher_pid: int
    open_files: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Asked:
    """An instance that is to be forked: the socket it answers on, and the directory of the cgroup it may be born in."""

    answers: socket.socket
    cgroup: int | None

    def close(self) -> None:
        """Give it up."""
        self.answers.close()
        if self.cgroup is not None:
            os.close(self.cgroup)


class Imported:
    """What has been imported here, and the files it came from as they were then."""

    def __init__(self) -> None:
        self._names = frozenset(name for name in sys.modules if "." not in name) - _AT_START
        files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
        self._marks = {file: _mark(file) for file in files if file is not None}
        self._looked_at = time.monotonic()

    def check_fresh(self) -> None:
        """Look at the files again, at most once a second. Raises StaleError when one has changed."""
        now = time.monotonic()
        if now - self._looked_at < _LOOK_INTERVAL_S:
            return
        self._looked_at = now
        for file, mark in self._marks.items():
            if _mark(file) != mark:
                raise StaleError(f"{file} has changed")

    def check_not_shadowed(self, directory: str) -> None:
        """Raises UnfitError where a script in this directory would have imported a neighbour instead."""
        with contextlib.suppress(OSError), os.scandir(directory) as entries:
            for entry in entries:
                stem, dot, _ = entry.name.partition(".")
                if stem in self._names and (dot or os.path.exists(os.path.join(entry.path, "__init__.py"))):
                    raise UnfitError(f"{entry.path} has the name of a module that is imported already")


def _mark(file: str) -> tuple[int, int] | None:
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino


def _import_all(modules: list[str]) -> Imported:
    """Import, and arrange what is there so that it stays shared; ends this process where it cannot be forked."""
    gc.disable()
    rehearsals: dict[str, Callable[[], object]] = {}
    for module in modules:
        try:
            rehearsal = getattr(importlib.import_module(module), "before_fork", None)
            if callable(rehearsal):
                rehearsal()
                rehearsals[module] = rehearsal
        except (Exception, SystemExit):
            # The agent will try it too, and say so where its author looks.
            sys.stderr.write(f"zygote: {module} cannot be imported beforehand:\n{traceback.format_exc()}")
        _check_alone(module)
    imported = Imported()
    gc.collect()
    until = time.monotonic() + _LONGEST_REHEARSALS_S
    memory_layout.gather_code(lambda: _rehearse(rehearsals, imported))
    for _ in range(_REHEARSALS):
        if time.monotonic() < until:
            _rehearse(rehearsals, imported)
    _check_alone(f"one of {', '.join(modules)}")
    gc.collect()
    memory_layout.fill_holes()
    gc.freeze()
    return imported


def _check_alone(who: str) -> None:
    if len(os.listdir("/proc/self/task")) > 1:
        sys.exit(f"zygote: {who} starts a thread, which a fork would lose")


def _rehearse(rehearsals: dict[str, Callable[[], object]], imported: Imported) -> None:
    """Do what every instance does at first: what that makes, it makes for all of them. What fails is left out."""
    for module, rehearsal in list(rehearsals.items()):
        try:
            rehearsal()
        except Exception:
            del rehearsals[module]
            sys.stderr.write(f"zygote: {module} cannot be rehearsed again:\n{traceback.format_exc()}")
    process_text.write_command_line(f"{sys.executable} {__file__}".encode())
    imported.check_not_shadowed(_directory(__file__))
    compile(json.loads('"pass"'), __file__, "exec")


def serve(control: socket.socket, imported: Imported) -> Order | None:
    """Fork what is asked for: None once the launcher is gone, or what is here is stale; in every instance its order."""
    while True:
        asked = _next_asked(control)
        if asked is None or not _is_fresh(imported):
            return None
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            birth = fork_away(asked.cgroup)
        except OSError:
            birth = None  # whoever has its socket then answers; nobody having it is a refusal
        if birth is not None:
            return _born(asked.answers, imported, birth)
        asked.close()


def _is_fresh(imported: Imported) -> bool:
    try:
        imported.check_fresh()
    except StaleError as error:
        sys.stderr.write(f"zygote: {error}\n")
        return False
    return True


def _next_asked(control: socket.socket) -> Asked | None:
    """Who is next; None when the launcher is gone."""
    _, descriptors = receive(control, _MESSAGE_LIMIT_BYTES, descriptors=2)
    if not descriptors:
        return None
    answers, *cgroup = descriptors
    return Asked(socket.socket(fileno=answers), cgroup[0] if cgroup else None)


def _born(answers: socket.socket, imported: Imported, birth: Birth) -> Order:
    """The order of this new process, which ends where it should not have been forked: it is executed instead."""
    try:
        return _take_on(answers, imported, birth)
    except (UnfitError, OSError, ValueError) as error:
        sys.stderr.write(f"zygote: {error}; executed instead\n")
        sys.stderr.flush()
        os._exit(0)


def _take_on(answers: socket.socket, imported: Imported, birth: Birth) -> Order:
    _, (text, *given) = receive(answers, _MESSAGE_LIMIT_BYTES, descriptors=4)
    with open(text, "rb") as file:
        told: dict[str, Any] = json.load(file)
    if told.get("descriptors") != len(given):
        raise UnfitError("the order is that of another version, or has lost descriptors")
    cgroup = given.pop() if told["has_cgroup"] else None
    program = Program(
        argv=tuple(told["argv"]),
        env=told["env"],
        cwd=told["cwd"],
        stdout=given[0],
        stderr=given[-1],
        limits=Limits(**told["limits"]),
        no_new_privileges=told["no_new_privileges"],
        cgroup=None if birth.in_cgroup else cgroup,
        bounded_by_cgroup=frozenset(told["bounded_by_cgroup"]),
    )
    imported.check_not_shadowed(_directory(program.argv[1]))
    await_launcher(birth.between)
    answers.send(HERE)
    return Order(answers, program, told["launcher_pid"], tuple(told["open_files"]))


def _directory(script: str) -> str:
    return os.path.dirname(os.path.realpath(script))


def become_instance(order: Order) -> None:
    """Turn this process into what `python SCRIPT` would be before it reads the script; ends it where that fails."""
    program = order.program
    try:
        become(program, launcher_pid=order.launcher_pid, open_files=order.open_files)
        with Step("exec", program.argv[0]):
            _take_the_state_of(program)
            _take_the_name_of(program)
    except StepError as error:
        try:
            order.answers.send(error.report)
        finally:
            os._exit(127)
    # The launcher takes the end of the connection for the beginning of the program. To close it would not end it: the
    # zygote may not have got to closing its copy yet.
    order.answers.shutdown(socket.SHUT_RDWR)
    order.answers.close()
    os.closerange(CONTROL_DESCRIPTOR, os.sysconf("SC_OPEN_MAX"))


def _take_the_name_of(program: Program) -> None:
    """What others see of this process. What it is told by comes first, should there not be room for all."""
    process_text.write_command_line(b" ".join(map(os.fsencode, program.argv)))
    ordered = sorted(program.env.items(), key=lambda item: not item[0].startswith(_TOLD_BY))
    process_text.write_environment(os.fsencode(f"{key}={value}") for key, value in ordered)


def _take_the_state_of(program: Program) -> None:
    # What Python has set itself, it would have set again (PEP 538).
    chosen = {key: value for key, value in os.environ.items() if key == "LC_CTYPE"}
    os.environ.clear()
    os.environ.update(chosen | dict(program.env))
    time.tzset()
    sys.argv[:] = program.argv[1:]
    sys.orig_argv[:] = program.argv
    if not sys.flags.safe_path:
        sys.path.insert(0, _directory(sys.argv[0]))
    main = types.ModuleType("__main__")
    main.__dict__.update(__builtins__=sys.modules["builtins"], __annotations__={})
    sys.modules["__main__"] = main
    gc.enable()


def _opened(script: str) -> int:
    """The script as a `FILE *`; ends this process as Python does where it cannot be opened."""
    fopen = ctypes.CDLL(None, use_errno=True).fopen
    fopen.restype = ctypes.c_void_p
    file: int | None = fopen(os.fsencode(script), b"rbe")
    if file is None:
        number = ctypes.get_errno()
        sys.stderr.write(f"{sys.executable}: can't open file {script!r}: [Errno {number}] {os.strerror(number)}\n")
        sys.exit(_CANNOT_OPEN)
    return file


def _awaited(imported: Imported) -> Order:
    """Serve until this process is an instance; ends it where it never becomes one."""
    return serve(socket.socket(fileno=CONTROL_DESCRIPTOR), imported) or sys.exit()


if __name__ == "__main__":
    _imported = _import_all(sys.argv[2:])  # kept: to give it up would cost every instance the pages it lies on
    _order = _awaited(_imported)
    become_instance(_order)
    _script = sys.argv[0]
    _run = ctypes.pythonapi.PyRun_SimpleFileExFlags
    _run.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p)
    _file = _opened(_script)
    del _order
    # In this frame, and by what Python itself runs a script with: errors, ends and `__main__` are those of any script.
    sys.exit(1 if _run(_file, os.fsencode(_script), True, None) else 0)
