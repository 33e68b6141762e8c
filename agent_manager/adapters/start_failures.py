"""What the kernel's word for a failed start leaves unsaid: the interpreter that is missing, the folder in the way."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import PurePath

from agent_manager.adapters.launch_recipe import ProcessStart
from agent_manager.adapters.users import SystemUser

_FIRST_LINE_BYTES = 256
"""As much of a script as Linux reads for its interpreter (`BINPRM_BUF_SIZE`)."""


def explained(message: str, start: ProcessStart) -> str:
    """`message`, which the launcher has for the failed start, and what can be seen to be behind it.

    It looks at files, as this process sees them; where it finds nothing the message stays as it is.
    """
    step = message.partition(" ")[0]
    cause = None
    if step == "cwd":
        cause = _in_the_way(start.working_directory, start.user)
    elif step == "exec":
        cause = _of_program(start)
    return message if cause is None else f"{message} ({cause})"


def _of_program(start: ProcessStart) -> str | None:
    path = _found(start)
    if path is None:
        name = start.argv[0]
        return None if "/" in name else f"it is in no folder of PATH: {start.environment.get('PATH', os.defpath)}"
    if (obstacle := _in_the_way(path, start.user)) is not None:
        return obstacle
    try:
        with open(path, "rb") as file:
            first_line = file.read(_FIRST_LINE_BYTES).partition(b"\n")[0]
    except OSError:
        return None
    if not first_line.startswith(b"#!"):
        return (
            None if first_line.startswith(b"\x7fELF") else "it is no program, and as a script it lacks a first line #!"
        )
    interpreter = os.fsdecode(first_line[2:].strip(b" \t").partition(b" ")[0])
    if not os.path.exists(os.path.join(start.working_directory, interpreter)):
        mend = ": its lines end as on Windows" if interpreter.endswith("\r") else ""
        return f"its first line asks for {interpreter!r}, which is not there{mend}"
    return _in_the_way(interpreter, start.user)


def _found(start: ProcessStart) -> str | None:
    """The file that is executed, None where there is none."""
    name = start.argv[0]
    folders = [""] if "/" in name else os.get_exec_path(start.environment)
    candidates = (os.path.join(start.working_directory, folder, name) for folder in folders)
    return next(filter(os.path.exists, candidates), None)


def _in_the_way(path: str, user: SystemUser | None) -> str | None:
    """What of the way to `path`, links and what they lead to, the user may not go through or execute."""
    who = "the manager's user" if user is None else user.name
    for step in _way(path):
        try:
            may = _may_execute(os.stat(step), user)
        except OSError:
            continue
        if not may:
            return f"{who} may not {'enter' if os.path.isdir(step) else 'execute'} {step}"
    return None


def _way(path: str) -> Iterator[str]:
    """Every folder that is passed, from the root on, and what is at the end."""
    for whole in map(PurePath, dict.fromkeys((os.path.abspath(path), os.path.realpath(path)))):
        yield from map(str, (*reversed(whole.parents), whole))


def _may_execute(status: os.stat_result, user: SystemUser | None) -> bool:
    """By the permission bits; lists of access control are not looked at."""
    uid, groups = (os.geteuid(), (os.getegid(), *os.getgroups())) if user is None else (user.uid, user.groups)
    if uid == 0:
        bit = 0o111
    elif uid == status.st_uid:
        bit = 0o100
    else:
        bit = 0o010 if status.st_gid in groups else 0o001
    return bool(status.st_mode & bit)
