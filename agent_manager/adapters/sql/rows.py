"""Domain values to the values of a row, and back. JSON goes in and comes out as its text.

Every `…_of` raises UnreadableRowError when the row holds no such value.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

from sqlalchemy import RowMapping

from agent_manager.adapters.codec import EXIT, FAULTS, INSTANCE, SPEC, UnreadableError
from agent_manager.adapters.sql.known_rows import KnownRows
from agent_manager.domain.agents import Agent, Package, PackageStatus
from agent_manager.domain.errors import AgentManagerError
from agent_manager.domain.events import Event
from agent_manager.domain.exits import Exit
from agent_manager.domain.instances import Instance
from agent_manager.domain.lifecycle import Lifecycle
from agent_manager.domain.specification import AgentSpec


class UnreadableRowError(AgentManagerError):
    """What stands in a row is not a value this version understands; trying again changes nothing."""


def agent_values(agent: Agent) -> dict[str, Any]:
    """The row of `agents`."""
    return {**_fields(agent), "spec": SPEC.text(agent.spec), "config": json.dumps(dict(agent.config))}


def agent_of(row: RowMapping, known: KnownRows) -> Agent:
    """The agent in a row of `agents`."""
    with _reading("agent", row["id"]):
        return known.read(("agent", row["id"]), tuple(row.values()), lambda: _agent_of(row, known))


def _agent_of(row: RowMapping, known: KnownRows) -> Agent:
    return Agent(
        **{
            **row,
            "spec": _spec_of(row["node_id"], row["package"], row["spec"], known),
            "lifecycle": Lifecycle(row["lifecycle"]),
            "config": json.loads(row["config"]),
        }
    )


def _spec_of(node_id: str, package: str, text: str, known: KnownRows) -> AgentSpec:
    return known.read(("spec", node_id, package), text, lambda: SPEC.decode(json.loads(text)))


def placement_values(agent: Agent) -> list[dict[str, Any]]:
    """The rows of `placements` an agent has: one for each of its replicas."""
    return [
        {"agent_id": agent.id, "ordinal": ordinal, "node_id": agent.node_id, "epoch": agent.epoch}
        for ordinal in range(agent.replicas)
    ]


def package_values(package: Package) -> dict[str, Any]:
    """The row of `packages`."""
    return {
        **_fields(package),
        "spec": None if package.spec is None else SPEC.text(package.spec),
        "faults": FAULTS.text(package.faults),
    }


def package_of(row: RowMapping, known: KnownRows) -> Package:
    """The package in a row of `packages`."""
    with _reading("package", row["name"]):
        key = ("package", row["node_id"], row["name"])
        return known.read(key, tuple(row.values()), lambda: _package_of(row, known))


def _package_of(row: RowMapping, known: KnownRows) -> Package:
    text = row["spec"]
    return Package(
        **{
            **row,
            "status": PackageStatus(row["status"]),
            "spec": None if text is None else _spec_of(row["node_id"], row["name"], text, known),
            "faults": FAULTS.decode(json.loads(row["faults"])),
        }
    )


def instance_values(instance: Instance, node_id: str) -> dict[str, Any]:
    """The row of `instances`."""
    launch = instance.launch
    return {
        "agent_id": instance.agent_id,
        "ordinal": instance.ordinal,
        "node_id": node_id,
        "epoch": instance.epoch,
        "status": instance.status,
        "launch_id": instance.launch_id,
        "pid": launch and launch.pid,
        "incarnation": instance.incarnation,
        "restarts": instance.restarts,
        "started_at": launch and launch.started_wall,
        "last_heartbeat": launch and launch.heartbeat_wall,
        "data": INSTANCE.text(instance),
    }


def instance_of(row: RowMapping) -> Instance:
    """The instance in a row of `instances`."""
    with _reading("instance", f"{row['agent_id']}_{row['ordinal']}"):
        return INSTANCE.decode(json.loads(row["data"]))


def exit_values(agent_id: str, ordinal: int, node_id: str, exit_: Exit) -> dict[str, Any]:
    """The row of `exits`."""
    return {
        "launch_id": exit_.launch_id,
        "agent_id": agent_id,
        "ordinal": ordinal,
        "node_id": node_id,
        "incarnation": exit_.incarnation,
        "reason": exit_.reason,
        "at": exit_.at,
        "data": EXIT.text(exit_),
    }


def exit_of(row: RowMapping) -> Exit:
    """The exit in a row of `exits`."""
    with _reading("exit of launch", row["launch_id"]):
        return EXIT.decode(json.loads(row["data"]))


def event_values(event: Event) -> dict[str, Any]:
    """The row of `events`, but for what the database and the publisher number."""
    values = {**_fields(event), "data": json.dumps(dict(event.data))}
    del values["sequence"], values["number"]
    return values


def event_of(row: RowMapping) -> Event:
    """The event in a row of `events`."""
    return Event(**{**row, "data": json.loads(row["data"])})


def _fields(value: Agent | Package | Event) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in fields(value)}


@contextmanager
def _reading(what: str, name: str) -> Iterator[None]:
    try:
        yield
    except (UnreadableError, ValueError) as error:
        raise UnreadableRowError(
            f"the stored {what} {name} cannot be read: {error}; was it written by a newer version?"
        ) from error
