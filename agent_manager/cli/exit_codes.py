"""How `agent-manager` ends."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a script can tell apart. `up` and `run` become the launcher, whose codes count from then on."""

    OK = 0
    """Done."""
    FAILED = 1
    """It could not be done, and standard error says why; `doctor` and `package check` have found faults."""
    BAD_SETTINGS = 2
    """The settings are wrong, or the usage is."""
    PENDING = 3
    """`migrate --check`: there is something to be done."""
    INTERRUPTED = 130
    """Interrupted (Ctrl-C)."""
    TERMINATED = 143
    """Ended by SIGTERM before the launcher was there."""
