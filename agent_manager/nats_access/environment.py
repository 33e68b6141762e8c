"""The variables that tell an agent how to reach NATS; the names are those of the `nats` tool.

Written by the manager for its launches, read by the SDK.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from agent_manager.nats_access.access import Access
from agent_manager.nats_access.errors import AccessError
from agent_manager.nats_access.resolving import Resolved, Wanted, resolve

NATS_URL = "NATS_URL"
"""One server, or several separated by commas."""
NATS_CREDS = "NATS_CREDS"
"""Path of a credentials file; of a launch, its own."""
NATS_USER = "NATS_USER"
NATS_PASSWORD = "NATS_PASSWORD"
NATS_TOKEN = "NATS_TOKEN"
NATS_NKEY = "NATS_NKEY"
"""Path of a file with an nkey seed."""
NATS_CONTEXT = "NATS_CONTEXT"
"""Name or path of a context; for agents run by hand."""
NATS_CA = "NATS_CA"
NATS_CERT = "NATS_CERT"
NATS_KEY = "NATS_KEY"
NATS_TLS_VERIFY = "NATS_TLS_VERIFY"
"""`false` takes any server for the right one."""
NATS_TLS_FIRST = "NATS_TLS_FIRST"
"""`true` for a server with `handshake_first`."""

VARIABLES = {
    "url": NATS_URL,
    "creds": NATS_CREDS,
    "user": NATS_USER,
    "password": NATS_PASSWORD,
    "token": NATS_TOKEN,
    "nkey": NATS_NKEY,
    "context": NATS_CONTEXT,
    "tls_ca": NATS_CA,
    "tls_cert": NATS_CERT,
    "tls_key": NATS_KEY,
    "tls_verify": NATS_TLS_VERIFY,
    "tls_first": NATS_TLS_FIRST,
}
"""By field of `Wanted`."""

_WORDS = {**dict.fromkeys(("1", "true", "yes", "on"), True), **dict.fromkeys(("0", "false", "no", "off"), False)}


def access_from(environ: Mapping[str, str]) -> Resolved:
    """The access that the variables describe; an empty one counts as not set.

    Raises AccessError naming the variable that is wrong.
    """
    given = {name: value for name, variable in VARIABLES.items() if (value := environ.get(variable))}
    return resolve(
        Wanted(
            url=given.get("url"),
            user=given.get("user"),
            password=given.get("password"),
            token=given.get("token"),
            context=given.get("context"),
            creds=_path(given.get("creds")),
            nkey=_path(given.get("nkey")),
            tls_ca=_path(given.get("tls_ca")),
            tls_cert=_path(given.get("tls_cert")),
            tls_key=_path(given.get("tls_key")),
            tls_verify=_flag(NATS_TLS_VERIFY, given.get("tls_verify")),
            tls_first=_flag(NATS_TLS_FIRST, given.get("tls_first")),
        ),
        called=VARIABLES.__getitem__,
        environ=environ,
    )


def variables_of(access: Access) -> dict[str, str]:
    """The variables that describe `access`, secrets included."""
    return {VARIABLES[name]: value for name, value in access.values().items()}


def _path(value: str | None) -> Path | None:
    return None if value is None else Path(value)


def _flag(variable: str, value: str | None) -> bool | None:
    if value is None:
        return None
    known = _WORDS.get(value.strip().lower())
    if known is None:
        raise AccessError(f"{variable} is {value!r}; expected true or false")
    return known
