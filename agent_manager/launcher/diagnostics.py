"""The launcher's few warnings: one line each on standard error."""

import os
import select
import traceback

_STDERR = 2
_LINE_LIMIT = select.PIPE_BUF


def warn(message: str) -> None:
    """Write one line, at most 4096 bytes; drop it where writing would block or fails.

    A poll tells without touching the descriptor's flags, which are shared with whoever gave it to us: a pipe that is
    ready takes PIPE_BUF bytes at once.
    """
    line = f"launcher: {message}".replace("\n", " ").encode(errors="replace")[: _LINE_LIMIT - 1] + b"\n"
    poll = select.poll()
    poll.register(_STDERR, select.POLLOUT)
    try:
        if any(mask & select.POLLOUT for _, mask in poll.poll(0)):
            os.write(_STDERR, line)
    except OSError:
        return


def warn_of(error: Exception) -> None:
    """Warn of an error that nobody expected, and where it was raised."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    warn(f"{type(error).__name__} in {where.filename}:{where.lineno}: {error}")
