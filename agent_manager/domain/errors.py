"""The one error base. `code` is stable and travels on the wire; `retryable`: the same request may succeed later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class AgentManagerError(Exception):
    """Something a caller can be told: what went wrong, with which value, and what to do.

    `detail` holds machine-readable facts (field names, allowed values); it must be JSON-ready.
    """

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, detail: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.detail: dict[str, Any] = dict(detail or {})


class InvalidRequestError(AgentManagerError):
    """The request itself is wrong; sending it again changes nothing."""

    code = "invalid_request"


class NotFoundError(AgentManagerError):
    """No such agent, package, instance or operation."""

    code = "not_found"


class ConflictError(AgentManagerError):
    """The thing exists, but its present state does not allow this."""

    code = "conflict"


class StaleRequestError(AgentManagerError):
    """The request's deadline passed before it was read; its sender has given up on it."""

    code = "stale"


class BusyError(AgentManagerError):
    """Too much is going on at once; the same request may be sent again."""

    code = "busy"
    retryable = True


class UnavailableError(AgentManagerError):
    """A part this needs (bus, database, launcher, agent) does not answer now."""

    code = "unavailable"
    retryable = True


class TooLargeError(AgentManagerError):
    """The answer or the request exceeds what the bus carries."""

    code = "too_large"
