"""The database: whether it can be reached, and whether this version can work with its schema."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from sqlalchemy import make_url

from agent_manager.adapters.sql import schema
from agent_manager.adapters.sql.database_url import postgres_address
from agent_manager.adapters.sql.migration import inspect_schema
from agent_manager.cli.service_table import SERVICES_FILE
from agent_manager.doctor.findings import Finding, Patient, fault, ok, warning
from agent_manager.domain.errors import AgentManagerError


async def database(patient: Patient) -> AsyncIterator[Finding]:
    """Connect as the manager does, and read which schema there is."""
    url = patient.settings.database_url
    try:
        address = postgres_address(url)
        name = address.name if address is not None else make_url(url).database or ":memory:"
        # In a thread, as it runs a loop of its own. Looking for a file that is not there would make it.
        found = await asyncio.to_thread(lambda: inspect_schema(url) if address or Path(name).exists() else None)
    except AgentManagerError as error:
        yield fault("database", error.message, "see the message; agents are supervised meanwhile, commands are refused")
        return
    if found is None and patient.is_running and (patient.settings.data_dir / SERVICES_FILE).exists():
        # The table is written once the database is made.
        yield fault(
            "database",
            f"{name} is gone while the node runs: what is written is lost",
            "restart the node, which makes a new one, and agents are registered anew; a backup is put back while the "
            "node is stopped",
        )
    elif found is None:
        yield ok("database", f"{name} is not there yet; the first start makes it")
    elif found.usable:
        yield ok("database", f"{name}, schema {found.revision}")
    elif found.revision is None or found.revision < schema.HEAD:
        yield warning(
            "database",
            f"{name} has the schema {found.revision or 'nothing'}, this version works with {schema.HEAD}",
            "`agent-manager migrate`, or start the node, which does so",
        )
    else:
        yield fault(
            "database",
            f"{name} has the schema {found.revision}, which programs before {found.oldest} cannot work with; this one "
            f"knows {schema.HEAD}",
            "run the version that has migrated it",
        )
