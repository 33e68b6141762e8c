from __future__ import annotations

import base64
import json
from typing import Any

import nkeys
import pytest

from agent_manager.adapters.nats.jwt import account_jwt, operator_jwt, user_jwt
from agent_manager.nats_access.nkey import KeyKind, Nkey
from agent_manager.protocol.permissions import REPLIES_MAX, REPLIES_TTL_S, Permissions

ISSUED_AT = 1_700_000_000.9
OPERATOR = Nkey.generate(KeyKind.OPERATOR)
ACCOUNT = Nkey.generate(KeyKind.ACCOUNT)
SIGNING = Nkey.generate(KeyKind.ACCOUNT)
USER = Nkey.generate(KeyKind.USER)
NARROW = Permissions(publish=("a.b",), subscribe=("c.>",), publish_denied=("a.c",), subscribe_denied=("c.d",))


def decoded(jwt: str, issuer: Nkey) -> dict[str, Any]:
    """The claims, once header and signature have proved right."""
    header, claims, signature = jwt.split(".")
    assert json.loads(unpadded(header)) == {"typ": "JWT", "alg": "ed25519-nkey"}
    assert nkeys.from_seed(issuer.seed.encode()).verify(f"{header}.{claims}".encode(), unpadded(signature))
    read: dict[str, Any] = json.loads(unpadded(claims))
    return read


def unpadded(part: str) -> bytes:
    assert "=" not in part
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def a_user(*, issuer: Nkey = SIGNING, permissions: Permissions = NARROW, expires_at: float | None = None) -> str:
    return user_jwt(
        name="echo",
        user=USER.public,
        account=ACCOUNT.public,
        issuer=issuer,
        permissions=permissions,
        issued_at=ISSUED_AT,
        expires_at=expires_at,
    )


def test_an_operator_signs_itself_and_names_the_system_account() -> None:
    jwt = operator_jwt(name="op", operator=OPERATOR, system_account=ACCOUNT.public, issued_at=ISSUED_AT)
    claims = decoded(jwt, OPERATOR)
    assert (claims["iss"], claims["sub"], claims["name"]) == (OPERATOR.public, OPERATOR.public, "op")
    assert claims["nats"] == {"type": "operator", "system_account": ACCOUNT.public, "version": 2}


def test_an_account_has_jetstream_and_signing_keys_when_asked_for() -> None:
    jwt = account_jwt(
        name="acc",
        account=ACCOUNT.public,
        operator=OPERATOR,
        issued_at=ISSUED_AT,
        signing_keys=[SIGNING.public],
        jetstream=True,
    )
    claims = decoded(jwt, OPERATOR)
    assert (claims["iss"], claims["sub"]) == (OPERATOR.public, ACCOUNT.public)
    assert claims["nats"]["signing_keys"] == [SIGNING.public]
    assert claims["nats"]["limits"]["disk_storage"] == -1


def test_an_account_has_no_jetstream_otherwise() -> None:
    jwt = account_jwt(name="sys", account=ACCOUNT.public, operator=OPERATOR, issued_at=ISSUED_AT)
    assert "disk_storage" not in decoded(jwt, OPERATOR)["nats"]["limits"]


def test_a_user_has_the_permissions_it_was_given() -> None:
    nats = decoded(a_user(), SIGNING)["nats"]
    assert nats["pub"] == {"allow": ["a.b"], "deny": ["a.c"]}
    assert nats["sub"] == {"allow": ["c.>"], "deny": ["c.d"]}
    assert "resp" not in nats


def test_replies_are_bounded_in_number_and_in_nanoseconds() -> None:
    permissions = Permissions(publish=("a",), subscribe=("b",), replies=True)
    nats = decoded(a_user(permissions=permissions), SIGNING)["nats"]
    assert nats["resp"] == {"max": REPLIES_MAX, "ttl": REPLIES_TTL_S * 10**9}


def test_a_user_names_its_account_when_a_signing_key_issued_it() -> None:
    assert decoded(a_user(), SIGNING)["nats"]["issuer_account"] == ACCOUNT.public
    assert "issuer_account" not in decoded(a_user(issuer=ACCOUNT), ACCOUNT)["nats"]


@pytest.mark.parametrize(("expires_at", "expected"), [(None, None), (1_700_000_060.7, 1_700_000_060)])
def test_times_are_whole_unix_seconds(expires_at: float | None, expected: int | None) -> None:
    claims = decoded(a_user(expires_at=expires_at), SIGNING)
    assert (claims["iat"], claims.get("exp")) == (1_700_000_000, expected)


def test_the_id_is_a_digest_of_the_claims() -> None:
    one, same, other = (decoded(jwt, SIGNING)["jti"] for jwt in (a_user(), a_user(), a_user(expires_at=2e9)))
    assert one == same != other
