"""What is wrong with how NATS is to be reached."""

from __future__ import annotations

import nats.errors


class AccessError(Exception):
    """Values that cannot be used together, a context or a file that cannot be read; never shows a secret."""

    code = "invalid_request"
    retryable = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class CredentialsError(nats.errors.Error):
    """A file is no credentials file, or holds no seed. An error of nats, so that its client takes it for an attempt
    that has failed.
    """


class TlsError(OSError):
    """A certificate or key of ours cannot be used. An OSError, so that the client takes it for a failed attempt."""


class NotNatsError(nats.errors.Error):
    """What answers speaks like a NATS server and is none. An error of nats, so that its client takes it for an attempt
    that has failed.
    """

    def __str__(self) -> str:
        return "the INFO message makes no sense"


class UnreadableMessageError(nats.errors.Error):
    """A message has come whose subject or reply subject is no text."""

    def __str__(self) -> str:
        return "a message was thrown away: its subject or reply subject is not UTF-8"
