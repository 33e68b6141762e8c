"""Reading a credentials file, anew at every attempt to connect, so that renewed credentials are taken up.

nats-py can read such a file itself, but loops for ever in one without a token, and one without a seed ends its attempts
to reconnect.
"""

from __future__ import annotations

import base64
import re
from pathlib import Path

import nats.errors

from agent_manager.adapters.nats.nkey import Nkey

_PARTS = re.compile(
    r"-----BEGIN NATS USER JWT-----\s+(\S+)\s+-+END NATS USER JWT-+.*?"
    r"-----BEGIN USER NKEY SEED-----\s+(\S+)\s+-+END USER NKEY SEED-+",
    re.DOTALL,
)


class CredentialsError(nats.errors.Error):
    """The file is no credentials file. An error of nats, so that its client takes it for an attempt that has failed."""


class CredentialsFile:
    """The two answers a NATS client needs when the server asks who it is. Both raise OSError, CredentialsError."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def token(self) -> bytes:
        """The user's JWT."""
        return self._read()[0].encode()

    def signature(self, nonce: str) -> bytes:
        """The server's nonce, signed, in base64."""
        try:
            key = Nkey(self._read()[1])
        except ValueError as error:
            raise CredentialsError(f"{self._path}: {error}") from error
        return base64.b64encode(key.sign(nonce.encode()))

    def _read(self) -> tuple[str, str]:
        found = _PARTS.search(self._path.read_text(encoding="utf-8", errors="replace"))
        if found is None:
            raise CredentialsError(f"{self._path} holds no NATS credentials; restore it, or start the node again")
        return found[1], found[2]
