"""The scripts `agentctl` and `agent-manager`: what has to hold before a program is loaded, which takes a moment itself.

Belongs here: the standard streams, and Ctrl-C during imports. Nothing of ours is imported above, hence early.
"""

from __future__ import annotations

import codecs
import gc
import importlib
import io
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType


def agentctl() -> None:
    """Entry point of the script `agentctl`."""
    _run("agent_manager.cli.agentctl")


def agent_manager() -> None:
    """Entry point of the script `agent-manager`."""
    _run("agent_manager.cli.agent_manager", before=escape_what_cannot_be_encoded)


def escape_what_cannot_be_encoded() -> None:
    """From now on standard output shows letters that its encoding lacks as escapes, as standard error always does.

    Names of files and words of others may have any letter, and the encoding is what the user's locale says.
    """
    if isinstance(sys.stdout, io.TextIOWrapper) and (sys.stdout.errors == "strict" or not _is_utf8(sys.stdout)):
        sys.stdout.reconfigure(errors="backslashreplace")


def _is_utf8(stream: io.TextIOWrapper) -> bool:
    return codecs.lookup(stream.encoding).name == "utf-8"


def _run(program: str, *, before: Callable[[], None] = lambda: None) -> None:
    _open_missing_streams()
    before()
    # One that is ignored (nohup) stays ignored.
    heeds_interrupts = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if heeds_interrupts:
        signal.signal(signal.SIGINT, _end)
    # What is imported stays: looking through it again and again for garbage finds none.
    gc.disable()
    loaded = importlib.import_module(program)
    gc.enable()
    if heeds_interrupts:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        loaded.main()
    except KeyboardInterrupt:
        # Ctrl-C before the program is so far that it says what follows from it.
        sys.exit(128 + signal.SIGINT)
    finally:
        _flush()


def _end(number: int, _: FrameType | None) -> None:
    """While a program is loaded nothing has to be put away. (The default action would be none for PID 1.)"""
    os._exit(128 + number)


def _flush() -> None:
    """Whoever reads may be gone (`| head -1`), and nobody is to be told of that at the end."""
    try:
        sys.stdout.flush()
    except OSError:
        let_go_of_output()


def let_go_of_output() -> None:
    """What is still buffered goes nowhere, or the interpreter would try again at its end and complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _open_missing_streams() -> None:
    """A standard stream that was closed (`>&-`) is as good as /dev/null, and no socket gets its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)
    sys.stdin = sys.stdin or _stream(0, "r")
    sys.stdout = sys.stdout or _stream(1, "w")
    sys.stderr = sys.stderr or _stream(2, "w")


def _stream(number: int, mode: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.FileIO(number, mode, closefd=False), encoding="utf-8")
