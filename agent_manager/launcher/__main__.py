"""`python -P -m agent_manager.launcher --table FILE`.

With `--resume DESCRIPTOR` it takes the place of the launcher that has handed over its state (`handover`), with
`--examine DESCRIPTOR` it says by its exit code whether it could, and whether what a launcher starts can be loaded.
"""

import fcntl
import os
import sys
from importlib import import_module

from agent_manager.launcher import handover
from agent_manager.launcher.exit_codes import ExitCode
from agent_manager.launcher.fields import FieldError, natural
from agent_manager.launcher.handover import HandoverError
from agent_manager.launcher.launcher import Launcher
from agent_manager.launcher.service_table import ServiceTable, TableError, load

_PROGRAMS = ("agent_manager.launcher.log_pump", "agent_manager.launcher.zygote")
"""What a launcher starts of its own version: a version in which they cannot be loaded must not take over."""


def main() -> ExitCode:
    """Run the launcher; its exit code."""
    match sys.argv[1:]:
        case ["--table", path]:
            state = None
        case ["--table", path, "--resume" | "--examine", descriptor]:
            state = int(descriptor)
        case _:
            return _refuse("usage: python -P -m agent_manager.launcher --table FILE")
    arguments = ("--table", path)
    try:
        table = load(path)
        if state is None:
            launcher = Launcher(table, lock=_locked(table), arguments=arguments)
        else:
            resumed = handover.read(state)
            launcher = Launcher(table, lock=resumed.get("lock", natural), arguments=arguments, resumed=resumed)
    except (TableError, HandoverError, FieldError) as error:
        return _refuse(str(error))
    except BlockingIOError:
        return _refuse(f"another launcher of installation {table.installation} is running: {table.lock_file} is locked")
    if "--examine" in sys.argv:
        for module in _PROGRAMS:
            import_module(module)
        return ExitCode.ORDERLY
    return ExitCode.ORDERLY if launcher.run() else ExitCode.DISORDERLY


def _locked(table: ServiceTable) -> int:
    """Raises BlockingIOError where another one holds the lock, TableError where there can be none."""
    try:
        lock = os.open(table.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise TableError(f"lock file: {error}") from error
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return lock


def _refuse(reason: str) -> ExitCode:
    sys.stderr.write(f"launcher: {reason}\n")
    return ExitCode.REFUSED


if __name__ == "__main__":
    sys.exit(main())
