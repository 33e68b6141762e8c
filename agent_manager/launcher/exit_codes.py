"""How the launcher ends."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What whoever started it is told: a terminal, a service manager, a container's engine."""

    ORDERLY = 0
    """Asked to stop, and everything below it has ended."""
    DISORDERLY = 1
    """Something was still there five seconds after a hurry's SIGKILL; or the launcher failed."""
    REFUSED = 2
    """It did not start: its arguments or its table are wrong, or another launcher holds the data directory."""
