"""`agent-manager migrate`: what it does, and what it says about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import make_url

from agent_manager.adapters.sql import schema
from agent_manager.adapters.sql.database_url import postgres_address
from agent_manager.adapters.sql.migration import inspect_schema, migrate
from agent_manager.adapters.sql.schema import Schema
from agent_manager.cli.exit_codes import ExitCode


@dataclass(frozen=True, slots=True)
class Report:
    """What to print, and with which code to exit."""

    text: str
    exit_code: ExitCode = ExitCode.OK


def run(url: str, *, check: bool) -> Report:
    """Migrate the database at `url`, or only look. Raises AgentManagerError."""
    address = postgres_address(url)
    database = address.name if address is not None else make_url(url).database or ":memory:"
    if check:
        found = _found(url, database, is_file=address is None)
        pending = found.revision is None or found.revision < schema.HEAD
        words = _words(found.revision, schema.HEAD if pending else found.revision)
        code = ExitCode.PENDING if pending else ExitCode.OK
        return Report(f"{database}: {words}{', not done yet' if pending else ''}", code)
    done = migrate(url)
    return Report(f"{database}: {_words(done.before, done.after)}")


def _found(url: str, database: str, *, is_file: bool) -> Schema:
    if is_file and not Path(database).exists():
        # Looking would make it.
        return Schema(revision=None, oldest=None)
    return inspect_schema(url)


def _words(before: str | None, after: str | None) -> str:
    if before != after:
        return f"schema {before or 'nothing'} → {after}"
    newer = f", made by a newer version and usable by this one ({schema.HEAD})" if after != schema.HEAD else ""
    return f"schema {after}, nothing to be done{newer}"
