"""A program with descendants: `python family.py KIND FILE` writes the pid of the last one into FILE and waits.

Kinds: `child` stays where it is born; `session` has a session of its own; `daemon` is forked twice and has a session of
its own; `blank` leaves the process group and clears its environment; `nested` is a blank session below a daemon.
"""

import os
import signal
import sys
from collections.abc import Callable


def _fork(then: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        then()
        os._exit(0)
    return pid


def _settle() -> None:
    with open(sys.argv[2], "w") as file:
        file.write(f"{os.getpid()}\n")
    while True:
        signal.pause()


def _settle_blank() -> None:
    os.execve(sys.executable, [sys.executable, "-I", "-S", __file__, "settle", sys.argv[2]], {})


def _session() -> None:
    os.setsid()
    _settle()


def _daemon() -> None:
    os.setsid()
    _fork(_settle)


def _blank() -> None:
    os.setpgid(0, 0)
    _settle_blank()


def _hidden() -> None:
    os.setsid()
    _settle_blank()


def _nested() -> None:
    os.setsid()
    _fork(_parent_of_hidden)


def _parent_of_hidden() -> None:
    _fork(_hidden)
    while True:
        signal.pause()


def main() -> None:
    """Become a family."""
    kind = sys.argv[1]
    if kind == "settle":
        _settle()
    child = {"child": _settle, "session": _session, "daemon": _daemon, "blank": _blank, "nested": _nested}[kind]
    pid = _fork(child)
    if kind in ("daemon", "nested"):
        os.waitpid(pid, 0)
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
