"""Addresses as they are shown: with the host they name, without what in them may be a password."""

from __future__ import annotations

import re
from urllib.parse import unquote

MASK = "********"

_HARMLESS = frozenset(
    [
        "application_name",
        "channel_binding",
        "connect_timeout",
        "database",
        "dbname",
        "gssencmode",
        "host",
        "hostaddr",
        "krbsrvname",
        "mode",
        "options",
        "passfile",
        "port",
        "ssl",
        "ssl_max_protocol_version",
        "ssl_min_protocol_version",
        "sslcert",
        "sslcrl",
        "sslkey",
        "sslmode",
        "sslnegotiation",
        "sslrootcert",
        "target_session_attrs",
        "uri",
        "user",
    ]
)
"""Query parameters whose values are shown; whatever else there is may be a password."""
_SECRET = frozenset(["password", "sslpassword"])
"""Query parameters whose names are shown; another name may be a part of a password with an `&` in it."""

_HOST = r"(?:\[[0-9A-Za-z:.%]*\]|[\w.%-]*)(?::[0-9]*)?"
_HOSTS = rf"{_HOST}(?:,{_HOST})*"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_WELL_FORMED = re.compile(
    rf"(?:(?P<user>[^:/?#@\s]*)(?P<password>:[^/?#]*)?@)?(?P<place>{_HOSTS})(?P<path>/[^?#@]*)?(?P<rest>[?#][^@]*)?",
    re.DOTALL,
)
_TORN = re.compile(rf"(?P<user>[^:/?#@\s]*):[^?]*@(?P<place>{_HOSTS})(?P<path>/[^?#@]*)?", re.DOTALL)
"""A password with a character in it that should have been percent-encoded."""


def shown_database(url: str) -> str:
    """A database's URL without its password, whether it stands before the host or is a parameter."""
    scheme, rest = _scheme(url)
    if scheme.startswith("sqlite") and rest.startswith("/"):
        path, _, query = rest.partition("?")
        return f"{scheme}{path}{_query(query)}"
    # Without a scheme it may be anything, a password included.
    return f"{scheme}{_without_password(rest)}" if scheme else MASK


def shown_servers(text: str) -> str:
    """Addresses of NATS servers, separated by commas, without passwords and tokens; a scheme is not needed."""
    first, *others = text.split(",")
    if any("@" in piece and "://" not in piece for piece in others):
        # The comma may stand in a password, which then goes on in the next piece.
        return MASK
    return ",".join(map(_shown_server, (first, *others)))


def _shown_server(url: str) -> str:
    scheme, rest = _scheme(url)
    return f"{scheme}{_without_password(rest, lone_user=MASK)}" if scheme or "://" not in rest else MASK


def _scheme(url: str) -> tuple[str, str]:
    scheme, separator, rest = url.partition("://")
    if not separator or _SCHEME.fullmatch(scheme) is None:
        return "", url
    return scheme + separator, rest


def _without_password(text: str, *, lone_user: str | None = None) -> str:
    """`lone_user` is written for a user without a password, where it is a token."""
    found = _WELL_FORMED.fullmatch(text)
    if found is None:
        torn = _TORN.fullmatch(text)
        return f"{torn['user']}:{MASK}@{torn['place']}{torn['path'] or ''}" if torn is not None else MASK
    user = found["user"]
    if found["password"] is not None:
        user = f"{user}:{MASK}"
    elif user is not None and lone_user is not None:
        user = lone_user
    rest = found["rest"] or ""
    after = _query(rest[1:]) if rest.startswith("?") else f"#{MASK}" if rest else ""
    return f"{'' if user is None else f'{user}@'}{found['place']}{found['path'] or ''}{after}"


def _query(text: str) -> str:
    return f"?{'&'.join(map(_parameter, text.split('&')))}" if text else ""


def _parameter(text: str) -> str:
    name, separator, value = text.partition("=")
    if not separator:
        return MASK
    if unquote(name) in _HARMLESS and "#" not in value:
        return text
    return f"{name if unquote(name) in _HARMLESS | _SECRET else MASK}={MASK}"
