"""JSON web tokens of NATS, version 2, made offline: operator, account and user.

Format: https://github.com/nats-io/jwt (package `v2`). A token is `header.claims.signature`, each part base64url without
padding, signed with the issuer's nkey. All times are Unix seconds.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from agent_manager.nats_access.nkey import Nkey
from agent_manager.protocol.permissions import REPLIES_MAX, REPLIES_TTL_S, Permissions

_HEADER = {"typ": "JWT", "alg": "ed25519-nkey"}
_UNLIMITED = -1
_NANOSECONDS = 1_000_000_000

_ACCOUNT_LIMITS = {
    **dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), _UNLIMITED),
    "wildcards": True,
}
_JETSTREAM_LIMITS = dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), _UNLIMITED)
_USER_LIMITS = dict.fromkeys(("subs", "data", "payload"), _UNLIMITED)


def operator_jwt(*, name: str, operator: Nkey, system_account: str, issued_at: float) -> str:
    """The self-signed token of an operator; `system_account` is a public key."""
    return _sign(
        operator,
        subject=operator.public,
        name=name,
        issued_at=issued_at,
        nats={"type": "operator", "system_account": system_account},
    )


def account_jwt(
    *,
    name: str,
    account: str,
    operator: Nkey,
    issued_at: float,
    signing_keys: Sequence[str] = (),
    jetstream: bool = False,
) -> str:
    """The token of an account without limits. `account` and `signing_keys` are public keys.

    A system account must not have JetStream: the server refuses to start.
    """
    limits = {**_ACCOUNT_LIMITS, **(_JETSTREAM_LIMITS if jetstream else {})}
    return _sign(
        operator,
        subject=account,
        name=name,
        issued_at=issued_at,
        nats={"type": "account", "limits": limits, "signing_keys": list(signing_keys)},
    )


def user_jwt(
    *,
    name: str,
    user: str,
    account: str,
    issuer: Nkey,
    permissions: Permissions,
    issued_at: float,
    expires_at: float | None = None,
) -> str:
    """The token of a user; `user` and `account` are public keys, `issuer` the account or one of its signing keys.

    The server closes the connection of a user whose `expires_at` passes, and refuses to open another.
    """
    nats = {"type": "user", **_USER_LIMITS, **_permission_claims(permissions)}
    if issuer.public != account:
        nats["issuer_account"] = account
    return _sign(issuer, subject=user, name=name, issued_at=issued_at, expires_at=expires_at, nats=nats)


def _permission_claims(permissions: Permissions) -> dict[str, Any]:
    claims: dict[str, Any] = {
        "pub": {"allow": list(permissions.publish), "deny": list(permissions.publish_denied)},
        "sub": {"allow": list(permissions.subscribe), "deny": list(permissions.subscribe_denied)},
    }
    if permissions.replies:
        claims["resp"] = {"max": REPLIES_MAX, "ttl": REPLIES_TTL_S * _NANOSECONDS}
    return claims


def _sign(
    issuer: Nkey,
    *,
    subject: str,
    name: str,
    issued_at: float,
    nats: Mapping[str, Any],
    expires_at: float | None = None,
) -> str:
    claims: dict[str, Any] = {
        "iat": int(issued_at),
        "iss": issuer.public,
        "name": name,
        "sub": subject,
        "nats": {**nats, "version": 2},
    }
    if expires_at is not None:
        claims["exp"] = int(expires_at)
    claims["jti"] = base64.b32encode(hashlib.sha256(_json(claims)).digest()).decode("ascii").rstrip("=")
    body = f"{_base64(_json(_HEADER))}.{_base64(_json(claims))}"
    return f"{body}.{_base64(issuer.sign(body.encode('ascii')))}"


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")
