"""As whom a program connects: exactly one of these, or nobody in particular.

Each knows its options for nats-py, how it is told to another program through the environment, and its description,
which shows no secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from agent_manager.nats_access.credentials_file import Credentials, CredentialsFile, read_credentials, read_seed


class Identity(Protocol):
    """What every kind of identity offers."""

    @property
    def description(self) -> str:
        """For people, without secrets."""
        ...

    def options(self) -> dict[str, Any]:
        """Arguments of nats-py's `connect`. Raises CredentialsError, OSError when a file cannot be used."""
        ...

    def values(self) -> Mapping[str, str]:
        """The same by the names of `resolving.Wanted`."""
        ...

    def credentials(self) -> Credentials | None:
        """What its file holds now; None where there is nothing that could expire. Raises as `options` does."""
        ...


@dataclass(frozen=True, slots=True)
class Nobody:
    """No identity: the server takes everybody, or knows a client by its certificate."""

    description = "no credentials"

    def options(self) -> dict[str, Any]:
        """See the protocol."""
        return {}

    def values(self) -> Mapping[str, str]:
        """See the protocol."""
        return {}

    def credentials(self) -> Credentials | None:
        """See the protocol."""
        return None


@dataclass(frozen=True, slots=True)
class CredentialsIdentity:
    """A user of an account in operator mode: JWT and seed in one file, read anew at every attempt to connect."""

    path: Path

    @property
    def description(self) -> str:
        """See the protocol."""
        return f"credentials file {self.path}"

    def options(self) -> dict[str, Any]:
        """See the protocol."""
        read_credentials(self.path)
        file = CredentialsFile(self.path)
        return {"user_jwt_cb": file.token, "signature_cb": file.signature}

    def values(self) -> Mapping[str, str]:
        """See the protocol."""
        return {"creds": str(self.path)}

    def credentials(self) -> Credentials | None:
        """See the protocol."""
        return read_credentials(self.path)


@dataclass(frozen=True, slots=True)
class NkeyIdentity:
    """A user known to the server by the public key of a seed in a file."""

    path: Path

    @property
    def description(self) -> str:
        """See the protocol."""
        return f"nkey seed file {self.path}"

    def options(self) -> dict[str, Any]:
        """See the protocol."""
        return {"nkeys_seed_str": read_seed(self.path).seed}

    def values(self) -> Mapping[str, str]:
        """See the protocol."""
        return {"nkey": str(self.path)}

    def credentials(self) -> Credentials | None:
        """See the protocol."""
        return None


@dataclass(frozen=True, slots=True)
class UserIdentity:
    """A user and a password."""

    user: str
    password: str = field(repr=False)

    @property
    def description(self) -> str:
        """See the protocol."""
        return f"user {self.user} with a password"

    def options(self) -> dict[str, Any]:
        """See the protocol."""
        return {"user": self.user, "password": self.password}

    def values(self) -> Mapping[str, str]:
        """See the protocol."""
        return {"user": self.user, "password": self.password}

    def credentials(self) -> Credentials | None:
        """See the protocol."""
        return None


@dataclass(frozen=True, slots=True)
class TokenIdentity:
    """A token."""

    token: str = field(repr=False)

    description = "a token"

    def options(self) -> dict[str, Any]:
        """See the protocol."""
        return {"token": self.token}

    def values(self) -> Mapping[str, str]:
        """See the protocol."""
        return {"token": self.token}

    def credentials(self) -> Credentials | None:
        """See the protocol."""
        return None
