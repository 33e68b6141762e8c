"""Errors of the SDK: what its author did wrong, what its environment lacks, what a command is answered with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent_manager.protocol.errors import ErrorBody, ErrorCode

MAX_TEXT = 500
"""Longest text of an error that travels, in characters; an exception may carry a whole document."""


class AgentError(Exception):
    """Base of what the SDK raises."""


class DefinitionError(AgentError):
    """The agent is put together wrongly: a name taken twice, a function of the wrong kind, a value read too early."""


class LaunchEnvironmentError(AgentError):
    """A variable of the environment is missing or wrong; the message names it and says what to do."""


class CommandError(AgentError):
    """The answer to a command that is not carried out. A handler may raise it to refuse with a code of its own.

    `code` is stable and for programs (one of `ErrorCode` where one fits), `retryable` says whether the same command may
    succeed later, `detail` holds machine-readable facts and must be JSON-ready.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = ErrorCode.INVALID_REQUEST,
        retryable: bool = False,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = str(code)
        self.retryable = retryable
        self.detail: dict[str, Any] = dict(detail or {})

    @property
    def body(self) -> ErrorBody:
        """The `error` of the response."""
        return ErrorBody(
            code=self.code, message=self.message[:MAX_TEXT], detail=self.detail, retryable=bool(self.retryable)
        )


def describe(error: BaseException) -> str:
    """Class and message of an exception, at most `MAX_TEXT` characters: never its repr, never its traceback."""
    try:
        message = str(error)
    except Exception:  # an author's exception may fail at this too
        message = ""
    name = type(error).__name__
    return (f"{name}: {message}" if message else name)[:MAX_TEXT]
