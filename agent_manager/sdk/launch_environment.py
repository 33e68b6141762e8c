"""Who this process is and where its bus is, read once from the environment (`protocol.environment`).

An agent may be run by hand with AGENT_ID and NATS_URL alone: it is then the instance `<agent_id>_manual` of a node
`manual`, supervised by nobody.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import nats.errors

from agent_manager.nats_access import environment as bus_variables
from agent_manager.nats_access.access import Access
from agent_manager.nats_access.environment import access_from
from agent_manager.nats_access.errors import AccessError
from agent_manager.protocol import environment as variables
from agent_manager.protocol.subjects import token
from agent_manager.sdk.errors import LaunchEnvironmentError

MANUAL = "manual"
"""Node, and end of the instance id, of an agent that was started by hand."""

_PLACE = (variables.AGENT_INSTANCE_ID, variables.AGENT_LAUNCH_ID, variables.AGENT_NODE_ID)
_BY_HAND = (
    "NATS_URL=nats://127.0.0.1:4222 NATS_CREDS=.agent-manager/nats/service.creds AGENT_ID=my-agent python agent.py"
)

_Value = TypeVar("_Value")


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """This launch of this instance of this agent. `incarnation` counts its launches since the node came up."""

    agent_id: str
    name: str
    type: str
    version: str
    node_id: str
    instance_id: str
    launch_id: str
    incarnation: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LaunchSettings:
    """Everything an agent is told by its environment. `heartbeat_interval_s` is None when nobody expects heartbeats.

    `remarks` say what of a context could not be honoured.
    """

    identity: Identity
    access: Access
    remarks: tuple[str, ...]
    heartbeat_interval_s: float | None
    config: Mapping[str, Any]


def read(environ: Mapping[str, str]) -> LaunchSettings:
    """The settings in `environ`. Raises LaunchEnvironmentError naming the first variable that is missing or wrong."""
    identity = _identity(environ)
    if not environ.get(bus_variables.NATS_CONTEXT):
        _required(environ, bus_variables.NATS_URL)
    try:
        resolved = access_from(environ)
        # Files that are wrong from the beginning are a fault of the environment; later ones may yet be mended.
        resolved.access.options()
    except (AccessError, nats.errors.Error, OSError) as error:
        given = ", ".join(name for name in bus_variables.VARIABLES.values() if environ.get(name))
        raise LaunchEnvironmentError(f"NATS cannot be reached as {given} say: {error}") from error
    return LaunchSettings(
        identity=identity,
        access=resolved.access,
        remarks=resolved.remarks,
        heartbeat_interval_s=_optional(environ, variables.AGENT_HEARTBEAT_INTERVAL_S, _seconds),
        config=_optional(environ, variables.AGENT_CONFIG, _object) or {},
    )


def _identity(environ: Mapping[str, str]) -> Identity:
    agent_id = _parsed(variables.AGENT_ID, _required(environ, variables.AGENT_ID), token)
    instance_id, launch_id, node_id = _place(environ, agent_id)
    return Identity(
        agent_id=agent_id,
        name=environ.get(variables.AGENT_NAME) or agent_id,
        type=environ.get(variables.AGENT_TYPE) or "agent",
        version=environ.get(variables.AGENT_VERSION) or "0.0.0",
        node_id=node_id,
        instance_id=instance_id,
        launch_id=launch_id,
        incarnation=_optional(environ, variables.AGENT_INCARNATION, _count) or 0,
    )


def _place(environ: Mapping[str, str], agent_id: str) -> tuple[str, str, str]:
    """Instance, launch and node: all of them given by a manager, or none of them by hand."""
    if not any(environ.get(name) for name in _PLACE):
        instance_id = _parsed(variables.AGENT_ID, f"{agent_id}_{MANUAL}", token)
        return instance_id, secrets.token_hex(8), MANUAL
    instance_id, launch_id, node_id = (_parsed(name, _required(environ, name), token) for name in _PLACE)
    return instance_id, launch_id, node_id


def _required(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name)
    if not value:
        raise LaunchEnvironmentError(
            f"{name} is not set: this agent was started outside agent-manager. Put its folder into agent_packages/ to "
            f"have it run there, or run it by hand: {_BY_HAND}"
        )
    return value


def _optional(environ: Mapping[str, str], name: str, parse: Callable[[str], _Value]) -> _Value | None:
    value = environ.get(name)
    return _parsed(name, value, parse) if value else None


def _parsed(name: str, value: str, parse: Callable[[str], _Value]) -> _Value:
    try:
        return parse(value)
    except (ValueError, OSError) as error:
        raise LaunchEnvironmentError(f"{name} cannot be used: {error}") from error


def _seconds(value: str) -> float:
    seconds = float(value)
    if not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(f"{value!r} is not a positive number of seconds")
    return seconds


def _count(value: str) -> int:
    count = int(value)
    if count < 0:
        raise ValueError(f"{value!r} is negative")
    return count


def _object(value: str) -> dict[str, Any]:
    document = json.loads(value)
    if not isinstance(document, dict):
        raise ValueError(f"it must be a JSON object, not a {type(document).__name__}")
    return document
