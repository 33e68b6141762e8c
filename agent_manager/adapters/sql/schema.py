"""Whether a database has a schema this version can work with. Imports no Alembic: a manager asks this at every start.

The schema is changed in two steps, first expanded, in a later release contracted, so that nodes of two versions work on
one database during an upgrade. Each revision says which is the oldest one whose programs can still work with it; that
of the newest stands in a table.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, column, inspect, select, table

from agent_manager.adapters.sql.tables import compatibility
from agent_manager.domain.errors import UnavailableError

HEAD = "0003"
"""The revision this version works with: that of the newest file in `migrations/versions`."""
VERSION_TABLE = "agent_manager_version"
"""Of its own name: the database may serve other programs that use Alembic."""
FORMER_VERSION_TABLE = "alembic_version"


class SchemaError(UnavailableError):
    """The database is there, but this version cannot work with its schema."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Schema:
    """What a database says of itself. Revisions are ordered as strings.

    `revision` is None where it was never migrated; programs below `oldest` cannot work with it.
    """

    revision: str | None
    oldest: str | None

    @property
    def usable(self) -> bool:
        """Whether this version can work with it."""
        if self.revision is None or self.revision < HEAD:
            return False
        return self.revision == HEAD or (self.oldest is not None and self.oldest <= HEAD)


def check(connection: Connection) -> None:
    """Raise SchemaError, saying which schema is there, which is needed and what to do, when it cannot be used."""
    found = read(connection)
    if found.usable:
        return
    if found.revision is None or found.revision < HEAD:
        remedy = "migrate it with `agent-manager migrate`, or start the node with `agent-manager up`, which does so"
    else:
        remedy = (
            f"a newer version has migrated it, and versions older than schema {found.oldest or found.revision} cannot "
            "work with it: run that newer version here too"
        )
    raise SchemaError(
        f"the schema of the database is at {found.revision or 'nothing'}, this version needs {HEAD}: {remedy}",
        detail={"found": found.revision, "needed": HEAD, "oldest_compatible": found.oldest},
    )


def read(connection: Connection) -> Schema:
    """What the database says."""
    return Schema(
        revision=_only_value(connection, version_table(connection), "version_num"),
        oldest=_only_value(connection, compatibility.name, "oldest"),
    )


def version_table(connection: Connection) -> str:
    """Where the revision stands: under its former name as long as nobody has migrated since."""
    inspector = inspect(connection)
    is_former = inspector.has_table(FORMER_VERSION_TABLE) and inspector.has_table("placements")
    return FORMER_VERSION_TABLE if is_former and not inspector.has_table(VERSION_TABLE) else VERSION_TABLE


def _only_value(connection: Connection, name: str, value: str) -> str | None:
    if not inspect(connection).has_table(name):
        return None
    found: str | None = connection.execute(select(column(value)).select_from(table(name))).scalar_one_or_none()
    return found
