"""structlog without rich, in which it draws tracebacks where it finds it: 4 MB that no service has a use for."""

import sys

_has_rich = "rich" in sys.modules
if not _has_rich:
    # None stands for a module that is not there (https://docs.python.org/3/reference/import.html#the-module-cache).
    sys.modules["rich"] = None  # type: ignore[assignment]

import structlog  # noqa: E402  # after what it must not find
from structlog.typing import EventDict, Processor, WrappedLogger  # noqa: E402

if not _has_rich:
    del sys.modules["rich"]

__all__ = ["EventDict", "Processor", "WrappedLogger", "structlog"]
