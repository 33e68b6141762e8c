"""Which database a URL names, and how it is spoken of: never with its password."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode

from agent_manager.configuration.database_url import split_postgres
from agent_manager.domain.errors import InvalidRequestError

DEFAULT_PORT = 5432
_LIBPQ_ONLY = frozenset(
    [
        "channel_binding",
        "client_encoding",
        "connect_timeout",
        "fallback_application_name",
        "gssencmode",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "load_balance_hosts",
        "sslcompression",
        "sslsni",
        "tcp_user_timeout",
    ]
)
"""Parameters that tune libpq, and that asyncpg would ask the server for: what they are about is settled here otherwise.

https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
"""


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    """Where a PostgreSQL database is. `dsn` has the password in it, `name` (`host:port/database`) has not."""

    dsn: str
    name: str

    def __repr__(self) -> str:
        return f"PostgresAddress({self.name})"


def postgres_address(url: str) -> PostgresAddress | None:
    """The address in a URL of PostgreSQL; None for one of SQLite. Raises InvalidRequestError for every other."""
    try:
        parts = split_postgres(url)
    except ValueError as error:
        raise InvalidRequestError(f"the database URL must be {error}") from None
    if parts is None:
        return None
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    options = {name: value for name, value in given.items() if name not in _LIBPQ_ONLY}
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
