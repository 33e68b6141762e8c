"""Whether a database has the schema this version works with. Imports no Alembic: a manager asks this at every start."""

from __future__ import annotations

from sqlalchemy import Connection, column, inspect, select, table

from agent_manager.domain.errors import UnavailableError

HEAD = "0001"
"""The revision this version needs: that of the newest file in `migrations/versions`."""

_VERSION_TABLE = table("alembic_version", column("version_num"))


def check(connection: Connection) -> None:
    """Raise UnavailableError, saying which schema is there, which is needed and what to do, when it is not `HEAD`."""
    found = revision(connection)
    if found == HEAD:
        return
    if found is not None and found > HEAD:
        remedy = "a newer version has migrated it: run that version here too"
    else:
        remedy = "start the node with `agent-manager up`, which migrates it"
    raise UnavailableError(
        f"the schema of the database is at {found or 'nothing'}, this version needs {HEAD}: {remedy}",
        detail={"found": found, "needed": HEAD},
    )


def revision(connection: Connection) -> str | None:
    """The revision the database is at, None when it was never migrated. Revisions are ordered as strings."""
    if not inspect(connection).has_table(_VERSION_TABLE.name):
        return None
    return connection.execute(select(_VERSION_TABLE.c.version_num)).scalar_one_or_none()
