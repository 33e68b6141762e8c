"""Addresses of servers: `nats://host:port`, several separated by commas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from urllib.parse import SplitResult, unquote, urlsplit

from agent_manager.nats_access.errors import AccessError

DEFAULT_PORT = 4222
SCHEMES = ("nats", "tls")
"""`tls` wants an encrypted connection; with `nats` the server decides."""


@dataclass(frozen=True, slots=True)
class UserInfo:
    """What stood before the `@` of an address; without a password the user is a token."""

    user: str
    password: str | None = field(repr=False)


def parse_servers(text: str, called: str) -> tuple[tuple[str, ...], UserInfo | None]:
    """The servers of a list, each with its port, and the user that the addresses name.

    `called` is how the value is called where it was set. Raises AccessError, which does not show the list: it may hold
    a password.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise AccessError(f"{called} names no server; expected nats://host:port, several separated by commas")
    if _is_torn(parts):
        raise AccessError(f"{called} has a comma before an @; write a comma of a user or password as %2C")
    parsed = [_split(part, number, called) for number, part in enumerate(parts, start=1)]
    users = {_user(each) for each in parsed} - {None}
    if len(users) > 1:
        raise AccessError(f"{called} names different users; one identity is used for every server")
    return tuple(_address(each) for each in parsed), users.pop() if users else None


def _is_torn(pieces: Sequence[str]) -> bool:
    """Whether a comma seems to have torn a user or password apart."""
    return any("@" in after and "://" not in after and "@" not in before for before, after in pairwise(pieces))


def _split(text: str, number: int, called: str) -> SplitResult:
    try:
        parts = urlsplit(text if "://" in text else f"nats://{text}")
        usable = parts.scheme in SCHEMES and bool(parts.hostname) and parts.port != 0 and parts.path in ("", "/")
        usable = usable and not parts.query and not parts.fragment
    except ValueError:
        usable = False
    if not usable:
        # Not from the ValueError, which shows a part of the text.
        raise AccessError(
            f"server {number} of {called} is not of the form nats://host:port or tls://host:port "
            "(WebSocket addresses are not supported)"
        )
    return parts


def _address(parts: SplitResult) -> str:
    host = parts.hostname or ""
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{parts.port or DEFAULT_PORT}"


def _user(parts: SplitResult) -> UserInfo | None:
    if parts.username is None:
        return None
    return UserInfo(unquote(parts.username), None if parts.password is None else unquote(parts.password))
