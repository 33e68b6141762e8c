"""How `management-api` ends."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What whoever started it is told."""

    OK = 0
    """Asked to stop, by SIGTERM or SIGINT."""
    FAILED = 1
    """It failed, in a way nobody has foreseen; the log has the traceback."""
    BAD_SETTINGS = 2
    """The settings are wrong, or the usage is."""
    CANNOT_LISTEN = 3
    """Its address cannot be listened on, because it is taken for example."""
