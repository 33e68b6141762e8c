"""The command line and the environment that others see of this process (`ps`, `/proc/PID/environ`).

The kernel shows the memory in which it has put them at the exec (`proc(5)`, fields 48 to 51 of `stat`), whatever the
process has made of them since. So a process that becomes another without an exec writes there. The room is what was
there before: whoever executes such a process gives it an argument and a variable that are long enough.
"""

import ctypes
from collections.abc import Iterable

_FIRST_FIELD_BEHIND_NAME = 3
_ARGUMENTS, _ENVIRONMENT = (48, 49), (50, 51)


def write_command_line(text: bytes) -> None:
    """Show this as the command line, cut to the room there is. Raises OSError."""
    start, end = _region(_ARGUMENTS)
    room = end - start
    # A last byte that is not NUL tells the kernel that the text ends at the first one that is.
    ctypes.memmove(start, text[: room - 2].ljust(room - 1, b"\0") + b".", room)


def write_environment(entries: Iterable[bytes]) -> None:
    """Show these as the environment, as many from the first one on as there is room for. Raises OSError.

    The variables that the process was executed with must not be in use any more: this is where they are.
    """
    start, end = _region(_ENVIRONMENT)
    text = bytearray()
    for entry in entries:
        if len(text) + len(entry) >= end - start:
            break
        text += entry + b"\0"
    ctypes.memmove(start, bytes(text.ljust(end - start, b"\0")), end - start)


def _region(fields: tuple[int, int]) -> tuple[int, int]:
    with open("/proc/self/stat", "rb", buffering=0) as file:
        stat = file.readall()
    values = stat[stat.rindex(b")") + 2 :].split()
    start, end = (int(values[field - _FIRST_FIELD_BEHIND_NAME]) for field in fields)
    return start, end
