"""What a unit of work may do, on a SQLAlchemy Core connection that is inside a transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    RowMapping,
    Select,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from agent_manager.adapters.codec import EXIT
from agent_manager.adapters.sql import rows, upserts
from agent_manager.adapters.sql.known_rows import KnownRows
from agent_manager.adapters.sql.tables import agents, events, exits, instances, packages, placements
from agent_manager.domain.agents import Agent, Package
from agent_manager.domain.errors import AgentManagerError
from agent_manager.domain.events import Event
from agent_manager.domain.exits import Exit
from agent_manager.domain.instances import Instance

# Made once: to put a statement together takes SQLAlchemy as long as to carry it out.
_AGENT = select(agents).where(agents.c.id == bindparam("agent"))
_PACKAGE = select(packages).where(packages.c.node_id == bindparam("node"), packages.c.name == bindparam("package"))
_EVENT = insert(events)


class WroteInReadError(AgentManagerError):
    """A unit of work given to `read` tried to write: a mistake in the program."""


class SqlTransaction:
    """Implements `ports.store.Transaction`; the same statements on SQLite and PostgreSQL.

    Errors of SQLAlchemy pass through: whoever made the connection knows which database they tell of.
    """

    def __init__(self, connection: Connection, known: KnownRows) -> None:
        """`known` are rows of this database, for all its transactions."""
        self._connection = connection
        self._known = known
        self._dialect = connection.dialect.name
        self._placed: dict[str, list[dict[str, Any]]] = {}

    def agents(self) -> Sequence[Agent]:
        """All agents, ordered by id."""
        return [rows.agent_of(row, self._known) for row in self._rows(select(agents).order_by(agents.c.id))]

    def agent(self, agent_id: str) -> Agent | None:
        """One agent, or None."""
        found = self._rows(_AGENT, agent=agent_id)
        if not found:
            return None
        agent = rows.agent_of(found[0], self._known)
        self._placed[agent_id] = rows.placement_values(agent)
        return agent

    def save_agent(self, agent: Agent) -> None:
        """Insert or replace an agent, and keep its placements as many as its replicas."""
        self._connection.execute(upserts.insert_or_replace(self._dialect, agents), rows.agent_values(agent))
        places = rows.placement_values(agent)
        if self._placed.get(agent.id) == places:
            return
        self._placed[agent.id] = places
        self._connection.execute(
            delete(placements).where(placements.c.agent_id == agent.id, placements.c.ordinal >= agent.replicas)
        )
        if places:
            self._connection.execute(upserts.insert_or_replace(self._dialect, placements), places)

    def packages(self) -> Sequence[Package]:
        """All packages, ordered by node and name."""
        query = select(packages).order_by(packages.c.node_id, packages.c.name)
        return [rows.package_of(row, self._known) for row in self._rows(query)]

    def package(self, node_id: str, name: str) -> Package | None:
        """One package, or None."""
        found = self._rows(_PACKAGE, node=node_id, package=name)
        return rows.package_of(found[0], self._known) if found else None

    def save_package(self, package: Package) -> None:
        """Insert or replace a package, known by node and name."""
        self._connection.execute(upserts.insert_or_replace(self._dialect, packages), rows.package_values(package))

    def remove_package(self, node_id: str, name: str) -> None:
        """Forget a package; nothing happens when it is unknown."""
        self._connection.execute(delete(packages).where(packages.c.node_id == node_id, packages.c.name == name))

    def instances(self, agent_id: str | None = None) -> Sequence[Instance]:
        """Instances as last observed, of one agent or all, ordered by agent and ordinal."""
        query = select(instances).order_by(instances.c.agent_id, instances.c.ordinal)
        if agent_id is not None:
            query = query.where(instances.c.agent_id == agent_id)
        return [rows.instance_of(row) for row in self._rows(query)]

    def observe(self, instance: Instance, node_id: str) -> bool:
        """Write what was observed of an instance; False, and nothing changed, where its placement has another epoch."""
        values = rows.instance_values(instance, node_id)
        parameters = {f"observed_{name}": value for name, value in values.items()}
        return self._connection.execute(upserts.insert_observed(self._dialect), parameters).rowcount == 1

    def forget_instance(self, agent_id: str, ordinal: int) -> None:
        """Remove the observed row of an instance that is desired no longer."""
        self._connection.execute(
            delete(instances).where(instances.c.agent_id == agent_id, instances.c.ordinal == ordinal)
        )

    def record_exit(self, agent_id: str, ordinal: int, node_id: str, exit_: Exit) -> bool:
        """Keep an exit; False when that launch's exit is kept already: then only its last lines are taken over."""
        values = rows.exit_values(agent_id, ordinal, node_id, exit_)
        if self._connection.execute(upserts.insert_once(self._dialect, exits), values).rowcount == 1:
            return True
        if exit_.last_lines is not None:
            this = exits.c.launch_id == exit_.launch_id
            (kept,) = self._rows(select(exits.c.data).where(this))
            complete = {**json.loads(kept["data"]), "last_lines": EXIT.encode(exit_)["last_lines"]}
            self._connection.execute(update(exits).where(this).values(data=json.dumps(complete)))
        return False

    def exits(self, agent_id: str, limit: int) -> Sequence[Exit]:
        """The newest exits of an agent, newest first."""
        newest = (exits.c.at.desc(), exits.c.incarnation.desc(), exits.c.launch_id)
        query = select(exits).where(exits.c.agent_id == agent_id).order_by(*newest).limit(limit)
        return [rows.exit_of(row) for row in self._rows(query)]

    def agents_with_exits(self, after: str, limit: int) -> Sequence[str]:
        """Ids above `after` of agents that exits are kept of, ordered."""
        # From each id to the next one in the index: DISTINCT would read every exit.
        lowest = func.min(exits.c.agent_id)
        found = select(lowest.label("agent_id")).where(exits.c.agent_id > after).cte(recursive=True)
        next_one = select(lowest).where(exits.c.agent_id > found.c.agent_id).scalar_subquery()
        found = found.union_all(select(next_one).where(found.c.agent_id.is_not(None)))
        query = select(found.c.agent_id).where(found.c.agent_id.is_not(None)).limit(limit)
        return self._connection.execute(query).scalars().all()

    def trim_exits(self, agent_id: str, *, before: float, keep: int, settled: float, limit: int) -> int:
        """Delete an agent's oldest exits."""
        this = exits.c.agent_id == agent_id
        edge = select(exits.c.at).where(this).order_by(exits.c.at.desc()).offset(keep - 1).limit(1)
        oldest_kept = self._connection.execute(edge).scalar_one_or_none()
        border = min(settled, before if oldest_kept is None else max(before, oldest_kept))
        oldest = select(exits.c.launch_id).where(this, exits.c.at < border).order_by(exits.c.at).limit(limit)
        return self._connection.execute(delete(exits).where(exits.c.launch_id.in_(oldest))).rowcount

    def append_event(self, event: Event) -> Event:
        """Add an event; returns it with its sequence."""
        key = self._connection.execute(_EVENT, rows.event_values(event)).inserted_primary_key
        return replace(event, sequence=key[0] if key else None)

    def events(self, after: int, limit: int) -> Sequence[Event]:
        """Events with a sequence above `after`, lowest first."""
        return self._events(events.c.sequence > after, events.c.sequence, limit)

    def unpublished_events(self, limit: int) -> Sequence[Event]:
        """Events that have no number yet, lowest sequence first."""
        return self._events(events.c.number.is_(None), events.c.sequence, limit)

    def mark_published(self, numbers: Mapping[int, int]) -> None:
        """Give events their numbers, by sequence; an event that has one keeps it."""
        if numbers:
            rows_of = [{"row": sequence, "given": number} for sequence, number in numbers.items()]
            this = (events.c.sequence == bindparam("row"), events.c.number.is_(None))
            self._connection.execute(update(events).where(*this).values(number=bindparam("given")), rows_of)

    def published_events(self, after: int, limit: int) -> Sequence[Event]:
        """Events with a number above `after`, lowest first."""
        return self._events(events.c.number > after, events.c.number, limit)

    def last_event_number(self) -> int:
        """The highest number an event has, 0 where none has one."""
        return self._connection.execute(select(func.max(events.c.number))).scalar_one() or 0

    def first_event_number(self, *, since: float) -> int | None:
        """The lowest number of the events since a moment; None without any."""
        query = select(func.min(events.c.number)).where(events.c.at >= since)
        first: int | None = self._connection.execute(query).scalar_one()
        return first

    def trim_events(self, *, through: int, before: float, keep: int, limit: int) -> int:
        """Delete events from the lowest number on, up to the first that stays."""
        top = self.last_event_number()
        query = select(events.c.number, events.c.at).where(events.c.number <= min(through, top - 1))
        lowest = self._connection.execute(query.order_by(events.c.number).limit(limit)).all()
        gone = list(takewhile(lambda row: row.at < before or row.number <= top - keep, lowest))
        if gone:
            self._connection.execute(delete(events).where(events.c.number <= gone[-1].number))
        return len(gone)

    def _events(self, which: ColumnElement[bool], order: Column[int], limit: int) -> Sequence[Event]:
        query = select(events).where(which).order_by(order).limit(limit)
        return [rows.event_of(row) for row in self._rows(query)]

    def _rows(self, query: Select[Any], **parameters: str) -> Sequence[RowMapping]:
        return self._connection.execute(query, parameters).mappings().all()
