"""The keys of `agent.yaml`: their types, bounds and defaults. `docs/manifest.md` is written for its authors.

Defaults are those of `domain.specification`. Bounds keep out what can only be a slip (a timeout of a year, a million
restarts), not what is merely unusual.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints, field_validator, model_validator

from agent_manager.documents.fields import listing, matching, one_of, simple, unmet, within
from agent_manager.domain.specification import (
    AgentSpec,
    Capability,
    HeartbeatPolicy,
    LogPolicy,
    OnInactive,
    Readiness,
    ReadinessMode,
    RestartMode,
    RestartPolicy,
    StopPolicy,
)

STOP_SIGNALS = ("SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH")
"""What programs take as a request to end; SIGWINCH is Apache httpd's graceful stop. SIGKILL is the last rung anyway."""

NO_HEARTBEAT = "none"
"""The word that stands for the whole `heartbeat` section of a program that sends none."""

SILENT_INTERVALS = 2
"""The least heartbeat timeout in intervals: one lost message must not be taken for death."""

_RESTART, _READINESS, _HEARTBEAT, _STOP, _LOGS = (
    RestartPolicy(),
    Readiness(),
    HeartbeatPolicy(),
    StopPolicy(),
    LogPolicy(),
)
_SPEC = AgentSpec(name="", version="", directory="", working_directory="")
_CAPABILITY = Capability(name="")

_DAY_S = 86_400
_SECONDS = "a number of seconds"

Title = Annotated[str, matching(r"[^\x00-\x1f\x7f]{1,128}", "a string of 1 to 128 characters on one line")]
Version = Annotated[
    str,
    matching(
        r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}", 'a version of letters, digits and .+_-, such as "1.0.0" (quote a number)'
    ),
]
Token = Annotated[
    str, matching(r"[a-z0-9][a-z0-9_-]{0,62}", "a word of 1 to 63 lower-case letters, digits, underscores and hyphens")
]
CapabilityName = Annotated[
    str, matching(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}", "a name of 1 to 128 letters, digits and ._:/-")
]
Text = Annotated[str, StringConstraints(max_length=4_000), simple("a string of at most 4000 characters")]
Path = Annotated[str, StringConstraints(min_length=1, max_length=1_024), simple("a path of 1 to 1024 characters")]
Flag = Annotated[bool, simple("true or false")]
Number = Annotated[float, within(0, _DAY_S, _SECONDS)]
PositiveNumber = Annotated[float, within(0.01, _DAY_S, _SECONDS)]
Word = Annotated[str, simple("a string (put numbers, true and false in quotes)")]
VariableName = Annotated[str, matching(r"[A-Za-z_][A-Za-z0-9_]{0,127}", "a name of letters, digits and underscores")]


class Section(BaseModel):
    """A mapping with known keys only."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class RestartSection(Section):
    """`restart`: when an ended instance comes back."""

    policy: Annotated[RestartMode, one_of(list(RestartMode), RestartMode)] = _RESTART.policy
    backoff_initial_s: PositiveNumber = _RESTART.backoff_initial_s
    backoff_factor: Annotated[float, within(1, 100, "a factor")] = _RESTART.backoff_factor
    backoff_max_s: PositiveNumber = _RESTART.backoff_max_s
    max_restarts: Annotated[int, within(0, 1_000, "a whole number")] = _RESTART.max_restarts
    window_s: Annotated[float, within(1, 7 * _DAY_S, _SECONDS)] = _RESTART.window_s
    reset_after_s: Number = _RESTART.reset_after_s

    @model_validator(mode="after")
    def _backoff_grows(self) -> RestartSection:
        if self.backoff_max_s < self.backoff_initial_s:
            least = f"at least backoff_initial_s ({self.backoff_initial_s:g})"
            raise unmet(least, field="backoff_max_s", value=self.backoff_max_s)
        return self


class ReadinessSection(Section):
    """`readiness`: what makes a started instance ready."""

    mode: Annotated[ReadinessMode, one_of(list(ReadinessMode), ReadinessMode)] = _READINESS.mode
    timeout_s: PositiveNumber = _READINESS.timeout_s


class HeartbeatSection(Section):
    """`heartbeat`: how often an instance says it lives, and what silence means."""

    interval_s: Annotated[float, within(0.1, 3_600, _SECONDS)] = _HEARTBEAT.interval_s
    timeout_s: Annotated[float, within(0.2, _DAY_S, _SECONDS)] = _HEARTBEAT.timeout_s
    on_inactive: Annotated[OnInactive, one_of(list(OnInactive), OnInactive)] = _HEARTBEAT.on_inactive

    @model_validator(mode="after")
    def _silence_is_longer_than_a_lost_message(self) -> HeartbeatSection:
        least_s = SILENT_INTERVALS * self.interval_s
        if self.timeout_s < least_s:
            raise unmet(
                f"at least {SILENT_INTERVALS} times interval_s ({least_s:g})", field="timeout_s", value=self.timeout_s
            )
        return self


class StopSection(Section):
    """`stop`: the ladder from drain to kill."""

    signal: Annotated[str, one_of(STOP_SIGNALS)] = _STOP.signal
    timeout_s: Number = _STOP.timeout_s
    drain_timeout_s: Number = _STOP.drain_timeout_s


class LogsSection(Section):
    """`logs`: size rotation of each output stream."""

    max_bytes: Annotated[int, within(1_024, 10_000_000_000, "a whole number of bytes")] = _LOGS.max_bytes
    files: Annotated[int, within(1, 100, "a whole number")] = _LOGS.files


class CapabilitySection(Section):
    """One entry of `capabilities`; a plain string is short for its `name`."""

    name: CapabilityName
    type: Token | None = _CAPABILITY.type
    version: Version = _CAPABILITY.version
    parameters: dict[str, Any] = {}
    constraints: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _from_its_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class Manifest(Section):
    """The top level of `agent.yaml`."""

    name: Title | None = None
    version: Version
    type: Token = _SPEC.type
    description: Text = _SPEC.description
    model: Title | None = _SPEC.model
    entrypoint: Path | None = _SPEC.entrypoint
    command: Annotated[tuple[Word, ...], listing('a list of strings, such as ["./run", "--fast"]')] = _SPEC.command
    capabilities: Annotated[tuple[CapabilitySection, ...], listing("a list of names or mappings")] = ()
    autostart: Flag = _SPEC.autostart
    replicas: Annotated[int, within(0, 1_000, "a whole number")] = _SPEC.replicas
    config: dict[str, Any] = {}
    env: dict[VariableName, Word] = {}
    restart: RestartSection = RestartSection()
    readiness: ReadinessSection = ReadinessSection()
    heartbeat: HeartbeatSection | None = HeartbeatSection()
    stop: StopSection = StopSection()
    logs: LogsSection = LogsSection()
    working_directory: Path | None = None

    @field_validator("heartbeat", mode="before")
    @classmethod
    def _none_is_a_word(cls, value: Any) -> Any:
        if value == NO_HEARTBEAT:
            return None
        if not isinstance(value, dict):
            # An empty section is more likely a slip than a wish to go unwatched, so the word has to be written.
            raise unmet(f"a mapping with {', '.join(HeartbeatSection.model_fields)}, or the word {NO_HEARTBEAT}")
        return value

    @field_validator("capabilities", mode="after")
    @classmethod
    def _each_capability_once(cls, value: tuple[CapabilitySection, ...]) -> tuple[CapabilitySection, ...]:
        seen: set[str] = set()
        for capability in value:
            if capability.name in seen:
                raise unmet(f"a list that names each capability once ({capability.name} is there twice)")
            seen.add(capability.name)
        return value

    def spec(self, *, folder_name: str, directory: str, working_directory: str, command: tuple[str, ...]) -> AgentSpec:
        """The domain's value. `directory`, `working_directory` and the program of `command` are absolute already."""
        return AgentSpec(
            name=self.name or folder_name,
            version=self.version,
            directory=directory,
            working_directory=working_directory,
            type=self.type,
            description=self.description,
            model=self.model,
            entrypoint=self.entrypoint,
            command=command,
            capabilities=tuple(Capability(**dict(capability)) for capability in self.capabilities),
            autostart=self.autostart,
            replicas=self.replicas,
            config=self.config,
            env=self.env,
            restart=RestartPolicy(**dict(self.restart)),
            readiness=self._readiness(),
            heartbeat=HeartbeatPolicy(**dict(self.heartbeat)) if self.heartbeat is not None else None,
            stop=StopPolicy(**dict(self.stop)),
            logs=LogPolicy(**dict(self.logs)),
        )

    def _readiness(self) -> Readiness:
        silent = self.heartbeat is None
        mode = ReadinessMode.IMMEDIATE if silent else self.readiness.mode
        return Readiness(mode=mode, timeout_s=self.readiness.timeout_s)
