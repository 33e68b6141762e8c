"""What exactly is executed for a launch: argv, environment (R16), working directory, output files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from agent_manager.adapters.users import SystemUser, find_user
from agent_manager.domain.instances import Instance, Launch
from agent_manager.domain.specification import AgentSpec, LogPolicy, ResourceLimits, Runtime
from agent_manager.nats_access import environment as bus_names
from agent_manager.protocol import environment as names

_OWN_PREFIXES = ("AGENT_MANAGER_", "MANAGEMENT_API_")
"""Settings of the programs of this product; an agent inherits none of them."""


_OF_EVERY_ZYGOTE = ("nats.aio.client", "agent_manager.sdk.rehearsal")
"""What every zygote imports: the SDK, which packages that do not use it lose nothing by.

The client comes first, so that it lies together: of an agent that uses nothing else fewer pages are its own.
"""

_OF_PYTHON = {
    # Output is read through a pipe, where Python would keep it back until a block is full.
    "PYTHONUNBUFFERED": "1",
    # SIGABRT, with which a process that hangs is ended, makes it tell the stacks of its threads.
    "PYTHONFAULTHANDLER": "1",
}

_READ_AT_START = ("PYTHON", "LC_", "LANG", "TZ", "HOME", "LD_", "MALLOC_", "GLIBC_", "OPENSSL_")
"""Beginnings of the variables that an interpreter and its standard library read before a script can."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ZygoteStart:
    """What the zygote of a launch is made of: the environment it starts with, and the modules it imports."""

    environment: Mapping[str, str]
    preload: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessStart:
    """What the launcher executes, or forks of a zygote. `environment` is complete; `output` maps stream to file."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    working_directory: str
    output: Mapping[str, str]
    logs: LogPolicy
    limits: ResourceLimits
    user: SystemUser | None
    no_new_privileges: bool
    zygote: ZygoteStart | None


@dataclass(frozen=True, kw_only=True)
class LaunchRecipe:
    """What is the same for every launch of this node.

    `bus` are the variables that say where NATS is, and as whom to connect where launches have no users of their own.
    `inherited` is the environment the manager was started with, of which no agent gets what is `withheld`;
    `output_stem` gives the path of an instance's output files without `.out.log` and `.err.log`.
    """

    node_id: str
    bus: Mapping[str, str]
    python: str
    output_stem: Callable[[str], str]
    inherited: Mapping[str, str]
    withheld: Collection[str] = ()

    def prepare(self, instance: Instance, launch: Launch, credentials: str) -> ProcessStart:
        """The command of `launch`; `credentials` is empty where it has none of its own.

        The manifest's `env` overrides what is inherited, never the launch's identity. Raises ValueError where the
        machine has no such user as `run_as`.
        """
        spec = launch.spec
        user = find_user(spec.run_as) if spec.run_as is not None else None
        surroundings = self._surroundings(spec, user)
        return ProcessStart(
            argv=self._argv(spec),
            environment={**surroundings, **self._identity(instance, launch, credentials)},
            working_directory=spec.working_directory,
            output={stream: f"{self.output_stem(instance.id)}.{stream}.log" for stream in ("out", "err")},
            logs=spec.logs,
            limits=spec.limits,
            user=user,
            no_new_privileges=spec.no_new_privileges,
            zygote=_zygote(spec, surroundings),
        )

    def shared_zygote(self, spec: AgentSpec) -> ZygoteStart | None:
        """What launches of a package are forked of, where it is what all are that bring nothing of their own to it."""
        brings = spec.environment is not None or spec.preload or any(map(_is_read_at_start, spec.env))
        if brings or spec.run_as is not None or not _is_forked(spec):
            return None
        return _zygote(spec, self._surroundings(spec, None))

    def _surroundings(self, spec: AgentSpec, user: SystemUser | None) -> dict[str, str]:
        inherited = self._given_on
        chosen = {
            **inherited,
            **_OF_PYTHON,
            **(user.variables if user is not None else {}),
            **_activated(spec.environment, inherited),
            **spec.env,
        }
        # The one name of an identity that a launch may lack: nobody else may set it then.
        chosen.pop(names.AGENT_HEARTBEAT_INTERVAL_S, None)
        # Somebody else's context or user beside the launch's own would be two identities.
        return {key: value for key, value in chosen.items() if key not in bus_names.VARIABLES.values()}

    @cached_property
    def _given_on(self) -> dict[str, str]:
        return {
            key: value
            for key, value in self.inherited.items()
            if not key.startswith(_OWN_PREFIXES) and key not in self.withheld
        }

    def _argv(self, spec: AgentSpec) -> tuple[str, ...]:
        if spec.entrypoint is None:
            return spec.command
        python = self.python if spec.environment is None else str(_programs(spec.environment) / "python")
        return (python, str(Path(spec.directory) / spec.entrypoint))

    def _identity(self, instance: Instance, launch: Launch, credentials: str) -> dict[str, str]:
        spec = launch.spec
        identity = {
            names.AGENT_ID: instance.agent_id,
            names.AGENT_NAME: spec.name,
            names.AGENT_TYPE: spec.type,
            names.AGENT_VERSION: spec.version,
            names.AGENT_INSTANCE_ID: instance.id,
            names.AGENT_LAUNCH_ID: launch.launch_id,
            names.AGENT_NODE_ID: self.node_id,
            names.AGENT_INCARNATION: str(launch.incarnation),
            names.AGENT_CONFIG: json.dumps(dict(spec.config)),
            **self.bus,
        }
        if credentials:
            identity[bus_names.NATS_CREDS] = credentials
        if spec.heartbeat is not None:
            identity[names.AGENT_HEARTBEAT_INTERVAL_S] = f"{spec.heartbeat.interval_s:g}"
        return identity


def _zygote(spec: AgentSpec, surroundings: Mapping[str, str]) -> ZygoteStart | None:
    if not _is_forked(spec):
        return None
    if not all(map(os.path.isabs, surroundings.get("PYTHONPATH", "/").split(os.pathsep))):
        # It means the working directory, where no zygote is.
        return None
    if spec.preload:
        # Nobody knows which variables these modules read when they are imported.
        environment = dict(surroundings)
    else:
        environment = {key: value for key, value in surroundings.items() if _is_read_at_start(key)}
    return ZygoteStart(environment=environment, preload=(*_OF_EVERY_ZYGOTE, *spec.preload))


def _is_forked(spec: AgentSpec) -> bool:
    return spec.entrypoint is not None and spec.runtime is Runtime.FORK


def _is_read_at_start(name: str) -> bool:
    return name.startswith(_READ_AT_START)


def _activated(environment: str | None, inherited: Mapping[str, str]) -> dict[str, str]:
    """What lets programs of a virtual environment be found before others."""
    if environment is None:
        return {}
    path = os.pathsep.join((str(_programs(environment)), inherited.get("PATH", os.defpath)))
    return {"VIRTUAL_ENV": environment, "PATH": path}


def _programs(environment: str) -> Path:
    return Path(environment) / "bin"
