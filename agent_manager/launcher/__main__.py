"""`python -P -m agent_manager.launcher --table FILE`."""

import fcntl
import os
import sys

from agent_manager.launcher.exit_codes import ExitCode
from agent_manager.launcher.launcher import Launcher
from agent_manager.launcher.service_table import TableError, load


def main() -> ExitCode:
    """Run the launcher; its exit code."""
    match sys.argv[1:]:
        case ["--table", path]:
            pass
        case _:
            return _refuse("usage: python -P -m agent_manager.launcher --table FILE")
    try:
        table = load(path)
        lock = os.open(table.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except TableError as error:
        return _refuse(str(error))
    except BlockingIOError:
        return _refuse(f"another launcher of installation {table.installation} is running: {table.lock_file} is locked")
    except OSError as error:
        return _refuse(f"lock file: {error}")
    return ExitCode.ORDERLY if Launcher(table).run() else ExitCode.DISORDERLY


def _refuse(reason: str) -> ExitCode:
    sys.stderr.write(f"launcher: {reason}\n")
    return ExitCode.REFUSED


if __name__ == "__main__":
    sys.exit(main())
