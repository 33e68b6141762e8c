"""What an agent is made of: the policies and the command of its package, as validated values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class RestartMode(StrEnum):
    """When an ended instance is started again."""

    ALWAYS = "always"
    ON_FAILURE = "on-failure"
    NEVER = "never"


class ReadinessMode(StrEnum):
    """What makes a started instance ready: its first heartbeat, or the start itself."""

    HEARTBEAT = "heartbeat"
    IMMEDIATE = "immediate"


class OnChange(StrEnum):
    """What happens to running instances when their package's folder has changed."""

    RESTART = "restart"
    KEEP = "keep"


class OnInactive(StrEnum):
    """What happens to an instance that lives but is silent."""

    RESTART = "restart"
    MARK = "mark"


class Runtime(StrEnum):
    """How the process of a Python agent begins."""

    FORK = "fork"
    """By a fork of an interpreter that has imported the SDK already; executed where that is not possible."""
    EXEC = "exec"


@dataclass(frozen=True, kw_only=True, slots=True)
class RestartPolicy:
    """Restart behaviour: first restart at once, then exponential backoff, given up above an intensity."""

    policy: RestartMode = RestartMode.ALWAYS
    backoff_initial_s: float = 0.1
    backoff_factor: float = 2.0
    backoff_max_s: float = 30.0
    max_restarts: int = 10
    window_s: float = 60.0
    reset_after_s: float = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Readiness:
    """How and within which time a started instance becomes ready."""

    mode: ReadinessMode = ReadinessMode.HEARTBEAT
    timeout_s: float = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class HeartbeatPolicy:
    """How often an instance says it lives, and what silence means."""

    interval_s: float = 5.0
    timeout_s: float = 60.0
    on_inactive: OnInactive = OnInactive.RESTART


@dataclass(frozen=True, kw_only=True, slots=True)
class StopPolicy:
    """The stop ladder: drain, then `signal`, then SIGKILL, each after the time of the step before."""

    signal: str = "SIGTERM"
    timeout_s: float = 5.0
    drain_timeout_s: float = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class LogPolicy:
    """Size rotation of each output stream: at most `files` files of `max_bytes` bytes."""

    max_bytes: int = 10_000_000
    files: int = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class ResourceLimits:
    """What an instance may use; None is no limit. `cpu` is a number of processors, `nice` its niceness."""

    memory_mb: int | None = None
    cpu: float | None = None
    processes: int | None = None
    open_files: int | None = None
    cpu_seconds: int | None = None
    nice: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Capability:
    """Something an agent can do, as the router reads it."""

    name: str
    type: str | None = None
    version: str = "1.0.0"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    constraints: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentSpec:
    """Everything needed to start an instance of an agent.

    Exactly one of `entrypoint` (a Python file relative to `directory`) and `command` (argv) is set. `environment` is
    the virtual environment they run in, None for the manager's own. `runtime` and `preload` (modules imported before
    the fork) concern entrypoints alone. `digest` is the version of the folder's files that count (64 hexadecimal
    digits), empty where it is not known. `heartbeat` is None for an executable that sends none.
    Paths are absolute but `entrypoint`.
    """

    name: str
    version: str
    directory: str
    working_directory: str
    digest: str = ""
    type: str = "agent"
    description: str = ""
    model: str | None = None
    entrypoint: str | None = None
    command: tuple[str, ...] = ()
    environment: str | None = None
    runtime: Runtime = Runtime.FORK
    preload: tuple[str, ...] = ()
    capabilities: tuple[Capability, ...] = ()
    autostart: bool = True
    on_change: OnChange = OnChange.RESTART
    replicas: int = 1
    config: Mapping[str, Any] = field(default_factory=dict)
    config_schema: Mapping[str, Any] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    restart: RestartPolicy = RestartPolicy()
    readiness: Readiness = Readiness()
    heartbeat: HeartbeatPolicy | None = HeartbeatPolicy()
    stop: StopPolicy = StopPolicy()
    logs: LogPolicy = LogPolicy()
    limits: ResourceLimits = ResourceLimits()
    run_as: str | None = None
    no_new_privileges: bool = False

    def is_other_version(self, other: AgentSpec) -> bool:
        """Whether the two are of different files; what is not known to differ does not."""
        return bool(self.digest and other.digest) and self.digest != other.digest


DIGEST_SHOWN = 12
"""Digits of a digest in messages: enough to tell versions apart."""


def short_digest(digest: str | None) -> str:
    """A digest as people read it."""
    return digest[:DIGEST_SHOWN] if digest else "an unknown version"
