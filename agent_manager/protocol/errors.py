"""Errors on the wire: a stable code, words for people, and whether trying again can help."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class ErrorCode(StrEnum):
    """The codes a response may carry."""

    INVALID_REQUEST = "invalid_request"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    UNSUPPORTED = "unsupported"
    FORBIDDEN = "forbidden"
    STALE = "stale"
    BUSY = "busy"
    UNAVAILABLE = "unavailable"
    TIMEOUT = "timeout"
    TOO_LARGE = "too_large"
    INTERNAL = "internal"


class ErrorBody(BaseModel):
    """The `error` of a response."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    code: str
    message: str
    detail: dict[str, Any] = Field(default_factory=dict)
    retryable: bool = False


class RequestFailedError(Exception):
    """What a client of the wire raises when its request was refused or not answered."""

    def __init__(
        self, code: str, message: str, *, retryable: bool = False, detail: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable
        self.detail: dict[str, Any] = dict(detail or {})

    @classmethod
    def of(cls, body: ErrorBody) -> RequestFailedError:
        """The exception for a received error."""
        return cls(body.code, body.message, retryable=body.retryable, detail=body.detail)
