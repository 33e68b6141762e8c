"""Which database a URL names, and how it is spoken of: never with its password."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from agent_manager.domain.errors import InvalidRequestError

ALLOWED = "postgresql://user:password@host:5432/name (or postgres://, postgresql+asyncpg://) and sqlite:///path"
DEFAULT_PORT = 5432

_POSTGRES = ("postgresql", "postgres", "postgresql+asyncpg")
_SQLITE = ("sqlite", "sqlite+pysqlite")


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    """Where a PostgreSQL database is. `dsn` has the password in it, `name` (`host:port/database`) has not."""

    dsn: str
    name: str

    def __repr__(self) -> str:
        return f"PostgresAddress({self.name})"


def postgres_address(url: str) -> PostgresAddress | None:
    """The address in a URL of PostgreSQL; None for one of SQLite. Raises InvalidRequestError for every other."""
    scheme, separator, rest = url.partition("://")
    if separator and scheme in _SQLITE:
        return None
    if not separator or scheme not in _POSTGRES:
        # Without a scheme it may be anything, a password included.
        what = f"has the scheme {scheme!r}" if separator else "has no scheme"
        raise InvalidRequestError(f"the database URL {what}; allowed are {ALLOWED}")
    try:
        parts = urlsplit(f"postgresql://{rest}")
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        if "," not in parts.netloc:
            _ = parts.port
    except ValueError:
        # Its words may have a piece of the password in them.
        raise InvalidRequestError(
            f"the database URL cannot be read: check host and port, and that /, @, : and # in user and password are "
            f"percent-encoded; allowed are {ALLOWED}"
        ) from None
    if "ssl" in options:
        # What SQLAlchemy's users write for libpq's name.
        options["sslmode"] = options.pop("ssl")
    return PostgresAddress(dsn=parts._replace(query=urlencode(options)).geturl(), name=_name(parts, options))


def _name(parts: SplitResult, options: dict[str, str]) -> str:
    host = parts.netloc.rpartition("@")[2] or options.get("host", "localhost")
    database = unquote(parts.path).lstrip("/") or options.get("dbname") or "(named as its user)"
    if ":" not in host.rpartition("]")[2] and "," not in host and not host.startswith("/"):
        host = f"{host}:{options.get('port', DEFAULT_PORT)}"
    return f"{host}/{database}"
