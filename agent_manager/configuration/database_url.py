"""Which URLs name a database. None of what is raised here repeats one: it may hold a password."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import SplitResult, parse_qsl, urlsplit

from pydantic import BeforeValidator

from agent_manager.configuration.kinds import PLAIN_TEXT
from agent_manager.documents.fields import unmet

ALLOWED = "postgresql://user:password@host:5432/name (or postgres://, postgresql+asyncpg://) or sqlite:///path"

_POSTGRES = ("postgresql", "postgres", "postgresql+asyncpg")
_SQLITE = ("sqlite", "sqlite+pysqlite")
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_UNREADABLE = f"{ALLOWED}, with /, @, :, ? and # in user and password percent-encoded"


def split_postgres(url: str) -> SplitResult | None:
    """The parts of a URL of PostgreSQL, its scheme `postgresql`; None for one of SQLite.

    Raises ValueError for every other, with what would be one as a noun phrase.
    """
    scheme, separator, rest = url.partition("://")
    if separator and scheme in _SQLITE:
        if rest and not rest.startswith("/"):
            raise ValueError(f"{ALLOWED} (after sqlite:// another / begins the path)")
        if rest.startswith("/file:") or "?" in rest:
            raise ValueError(f"{ALLOWED} (the path of a file, without parameters)")
        return None
    if not separator or scheme not in _POSTGRES:
        raise ValueError(ALLOWED)
    try:
        parts = urlsplit(f"postgresql://{rest}")
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        is_whole = not parts.fragment and "@" not in parts.path
        for host in parts.netloc.rpartition("@")[2].split(","):
            _ = urlsplit(f"//{host}").port
    except ValueError:
        is_whole = False
    if not is_whole:
        # Raised here, so that no chained exception carries a piece of the password.
        raise ValueError(_UNREADABLE)
    for name in {"ssl", "sslmode"} & set(options):
        if options[name].replace("_", "-") not in _SSL_MODES:
            raise ValueError(f"{ALLOWED}, with {name} one of {', '.join(_SSL_MODES)}")
    for name in {"channel_binding", "gssencmode"} & set(options):
        if options[name] == "require":
            raise ValueError(f"{ALLOWED}, without {name}=require, which cannot be met here (sslmode=verify-full can)")
    if not all(port.isdecimal() for port in options.get("port", "0").split(",")):
        raise ValueError(f"{ALLOWED}, with a number as port")
    return parts


def _check(value: Any) -> str:
    if not isinstance(value, str) or PLAIN_TEXT.fullmatch(value) is None:
        raise unmet(ALLOWED)
    try:
        split_postgres(value)
    except ValueError as error:
        raise unmet(str(error)) from None
    if value.partition("://")[2] in ("", "/", "/:memory:"):
        # What was accepted would be lost with the manager.
        raise unmet(f"{ALLOWED} (the path of a file: what is in memory ends with the manager)")
    return value


DatabaseUrl = Annotated[str, BeforeValidator(_check)]
