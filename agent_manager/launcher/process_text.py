"""The command line and the environment that others see of this process (`ps`, `/proc/PID/environ`).

The kernel shows the memory in which it has put them at the exec (`proc(5)`, fields 48 to 51 of `stat`), whatever the
process has made of them since. So a process that becomes another without an exec writes there. The room is what was
there before: whoever executes such a process gives it an argument and a variable that are long enough.
"""

import ctypes

_FIRST_FIELD_BEHIND_NAME = 3
_ARGUMENTS, _ENVIRONMENT = (48, 49), (50, 51)


def write_command_line(text: bytes) -> None:
    """Show this as the command line, cut to the room there is. Raises OSError."""
    start, end = _region(_ARGUMENTS)
    room = end - start
    # A last byte that is not NUL tells the kernel that the text ends at the first one that is.
    ctypes.memmove(start, text[: room - 2].ljust(room - 1, b"\0") + b".", room)


def write_variable(name: bytes, value: bytes) -> bool:
    """Show this value of a variable that is there already. Whether there was room for it. Raises OSError."""
    start, end = _region(_ENVIRONMENT)
    for entry in ctypes.string_at(start, end - start).split(b"\0"):
        if entry.startswith(name + b"="):
            text = name + b"=" + value
            if len(text) <= len(entry):
                ctypes.memmove(start, text.ljust(len(entry), b"\0"), len(entry))
                return True
        start += len(entry) + 1
    return False


def _region(fields: tuple[int, int]) -> tuple[int, int]:
    with open("/proc/self/stat", "rb", buffering=0) as file:
        stat = file.readall()
    values = stat[stat.rindex(b")") + 2 :].split()
    start, end = (int(values[field - _FIRST_FIELD_BEHIND_NAME]) for field in fields)
    return start, end
