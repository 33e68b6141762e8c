"""The process that runs an installer: it ends with the manager, stands back for agents, and becomes the installer.

Run as `python -P -m agent_manager.adapters.packages.installing <manager's process id> <program> <arguments>…`.
"""

from __future__ import annotations

import os
import sys

from agent_manager.launcher.linux import die_with_parent

NICENESS = 10


def main() -> None:
    """Entry point. Exits with 127 where there is no such program."""
    _, parent, *program = sys.argv
    die_with_parent(int(parent))
    os.nice(NICENESS)
    try:
        os.execvp(program[0], program)
    except OSError as error:
        sys.stderr.write(f"{program[0]}: {error.strerror}\n")
        sys.exit(127)


if __name__ == "__main__":
    main()
