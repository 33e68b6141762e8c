"""`python without_clone3.py PROGRAM…`: run a program whose `clone3` is refused, as container engines have it.

Their filter of system calls (`seccomp(2)`) cannot look at the flags, which are in memory, and says that there is no
such call, so that everybody falls back to `clone`.
"""

import ctypes
import errno
import os
import struct
import sys

_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 22, 38
_SECCOMP_MODE_FILTER = 2
_SECCOMP_RET_ALLOW, _SECCOMP_RET_ERRNO = 0x7FFF0000, 0x00050000
_SYS_CLONE3 = 435
_LOAD_NUMBER, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def main() -> None:
    """Filter, then execute the arguments."""
    instructions = b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in (
            (_LOAD_NUMBER, 0, 0, 0),
            (_JUMP_IF_EQUAL, 0, 1, _SYS_CLONE3),
            (_RETURN, 0, 0, _SECCOMP_RET_ERRNO | errno.ENOSYS),
            (_RETURN, 0, 0, _SECCOMP_RET_ALLOW),
        )
    )
    program = _Program(len(instructions) // 8, instructions)
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    for arguments in (
        (_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program)),
    ):
        if prctl(*arguments) != 0:
            raise OSError(ctypes.get_errno(), "no filter of system calls can be set")
    os.execv(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
