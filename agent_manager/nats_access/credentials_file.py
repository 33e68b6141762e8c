"""Credentials and seed files, read anew at every attempt to connect, so that renewed ones are taken up.

nats-py can read a credentials file itself, but loops for ever in one without a token, and one without a seed ends its
attempts to reconnect.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from agent_manager.nats_access.errors import CredentialsError
from agent_manager.nats_access.nkey import Nkey

_PARTS = re.compile(
    r"-----BEGIN NATS USER JWT-----\s+(\S+)\s+-+END NATS USER JWT-+.*?"
    r"-----BEGIN USER NKEY SEED-----\s+(\S+)\s+-+END USER NKEY SEED-+",
    re.DOTALL,
)
_SEED = re.compile(r"^S[A-Z2-7]{57}$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """A user's token and seed. Times are Unix seconds; a token without `expires_at` does not expire."""

    token: str = field(repr=False)
    seed: str = field(repr=False)
    issued_at: float
    expires_at: float | None

    def expired(self, now: float) -> bool:
        """Whether the expiry has passed, by this host's clock."""
        return self.expires_at is not None and now >= self.expires_at


def read_credentials(path: Path) -> Credentials:
    """The credentials in a file. Raises CredentialsError, OSError."""
    found = _PARTS.search(path.read_text(encoding="utf-8", errors="replace"))
    if found is None:
        raise CredentialsError(f"{path} holds no NATS credentials (a user JWT and its nkey seed); restore the file")
    token, seed = found[1], found[2]
    try:
        body = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        issued_at, expires_at = float(claims["iat"]), claims.get("exp")
        return Credentials(
            token=token, seed=seed, issued_at=issued_at, expires_at=float(expires_at) if expires_at else None
        )
    except (IndexError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise CredentialsError(f"{path} holds no NATS credentials: its JWT cannot be read") from error


def read_seed(path: Path) -> Nkey:
    """The key whose seed is in a file, alone or decorated. Raises CredentialsError, OSError."""
    found = _SEED.search(path.read_text(encoding="utf-8", errors="replace"))
    if found is None:
        raise CredentialsError(f"{path} holds no nkey seed: a line of 58 letters and digits that begins with S")
    return _key(path, found[0])


class CredentialsFile:
    """The two answers a NATS client needs when the server asks who it is. Both raise OSError, CredentialsError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._signed: Credentials | None = None

    def signature(self, nonce: str) -> bytes:
        """The server's nonce, signed, in base64. Asked for before the token."""
        self._signed = read_credentials(self._path)
        return sign(_key(self._path, self._signed.seed), nonce)

    def token(self) -> bytes:
        """The user's JWT: the one whose seed signed last, though the file was replaced in between."""
        credentials, self._signed = self._signed or read_credentials(self._path), None
        return credentials.token.encode()


def sign(key: Nkey, nonce: str) -> bytes:
    """A nonce signed, in base64."""
    return base64.b64encode(key.sign(nonce.encode()))


def _key(path: Path, seed: str) -> Nkey:
    try:
        return Nkey(seed)
    except ValueError as error:
        raise CredentialsError(f"{path}: {error}") from error
