"""The keys of `agent.yaml`: types, bounds, defaults and meanings. The tables of `docs/manifest.md` are made of them.

Defaults are those of `domain.specification`. Bounds keep out what can only be a slip (a timeout of a year, a million
restarts), not what is merely unusual.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from agent_manager.adapters.packages.ignoring import IgnoreRules
from agent_manager.documents.fields import accepted, listing, matching, one_of, simple, unmet, within
from agent_manager.domain.specification import (
    AgentSpec,
    Capability,
    HeartbeatPolicy,
    LogPolicy,
    OnChange,
    OnInactive,
    Readiness,
    ReadinessMode,
    ResourceLimits,
    RestartMode,
    RestartPolicy,
    Runtime,
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
_USER = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,63})?"
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
Pattern = Annotated[
    str,
    StringConstraints(min_length=1, max_length=1_024),
    accepted("a pattern as in a .gitignore, such as state.json or data/", lambda pattern: IgnoreRules((pattern,))),
]
ModuleName = Annotated[
    str, matching(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*", "the name of a Python module, such as httpx")
]
VariableName = Annotated[str, matching(r"[A-Za-z_][A-Za-z0-9_]{0,127}", "a name of letters, digits and underscores")]


class Section(BaseModel):
    """A mapping with known keys only."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class RestartSection(Section):
    """When an ended instance comes back."""

    policy: Annotated[RestartMode, one_of(list(RestartMode), RestartMode)] = Field(
        _RESTART.policy, description="`on-failure`: not after exit code 0"
    )
    backoff_initial_s: PositiveNumber = Field(
        _RESTART.backoff_initial_s,
        description="wait before the second restart of a run of failures; the first is immediate, or after 0.3 s for "
        "what was never ready",
    )
    backoff_factor: Annotated[float, within(1, 100, "a factor")] = Field(
        _RESTART.backoff_factor, description="each further wait is so many times longer, spread by ±25 %"
    )
    backoff_max_s: PositiveNumber = Field(
        _RESTART.backoff_max_s, description="the longest wait; not less than `backoff_initial_s`"
    )
    max_restarts: Annotated[int, within(0, 1_000, "a whole number")] = Field(
        _RESTART.max_restarts, description="restarts within `window_s` after which it is given up and in `error`"
    )
    window_s: Annotated[float, within(1, 7 * _DAY_S, _SECONDS)] = Field(
        _RESTART.window_s,
        description="see `max_restarts`. With the defaults, what ends within some tenths of a second is given up after "
        "about a minute; what lives a little longer each time is started again every 30 s, unless this is longer",
    )
    reset_after_s: Number = Field(
        _RESTART.reset_after_s, description="after so long in health a failure counts as the first again"
    )

    @model_validator(mode="after")
    def _backoff_grows(self) -> RestartSection:
        if self.backoff_max_s < self.backoff_initial_s:
            least = f"at least backoff_initial_s ({self.backoff_initial_s:g})"
            raise unmet(least, field="backoff_max_s", value=self.backoff_max_s)
        return self


class ReadinessSection(Section):
    """When a started instance counts as running."""

    mode: Annotated[ReadinessMode, one_of(list(ReadinessMode), ReadinessMode)] = Field(
        _READINESS.mode,
        description="ready with the first heartbeat, or as soon as the process has started. With `heartbeat: none` "
        "it is `immediate`, and `heartbeat` is a fault",
    )
    timeout_s: PositiveNumber = Field(_READINESS.timeout_s, description="not ready after so long is a failed start")


class HeartbeatSection(Section):
    """How silence is noticed.

    The word `none` for a program that sends no heartbeats; it is then watched by its exit alone. An empty section is a
    fault, so that nobody goes unwatched by a slip.
    """

    interval_s: Annotated[float, within(0.1, 3_600, _SECONDS)] = Field(
        _HEARTBEAT.interval_s, description="how often an instance says that it lives"
    )
    timeout_s: Annotated[float, within(0.2, _DAY_S, _SECONDS)] = Field(
        _HEARTBEAT.timeout_s,
        description="silence after which it is `inactive`; at least twice `interval_s`, so that one lost message is "
        "not taken for death",
    )
    on_inactive: Annotated[OnInactive, one_of(list(OnInactive), OnInactive)] = Field(
        _HEARTBEAT.on_inactive, description="kill and restart an inactive instance, or only show it"
    )

    @model_validator(mode="after")
    def _silence_is_longer_than_a_lost_message(self) -> HeartbeatSection:
        least_s = SILENT_INTERVALS * self.interval_s
        if self.timeout_s < least_s:
            raise unmet(
                f"at least {SILENT_INTERVALS} times interval_s ({least_s:g})", field="timeout_s", value=self.timeout_s
            )
        return self


class StopSection(Section):
    """How it is asked to end.

    An instance is asked over the bus to drain, then gets `signal`, then SIGKILL; whatever it has started dies with it.
    """

    signal: Annotated[str, one_of(STOP_SIGNALS)] = Field(_STOP.signal, description="the signal that asks it to end")
    timeout_s: Number = Field(_STOP.timeout_s, description="time between the signal and SIGKILL")
    drain_timeout_s: Number = Field(_STOP.drain_timeout_s, description="time for finishing what it does")


class LogsSection(Section):
    """How its output is kept, for standard output and standard error each."""

    max_bytes: Annotated[int, within(1_024, 10_000_000_000, "a whole number of bytes")] = Field(
        _LOGS.max_bytes, description="size at which a file is rotated"
    )
    files: Annotated[int, within(1, 100, "a whole number")] = Field(
        _LOGS.files, description="files kept, the present one included"
    )


class LimitsSection(Section):
    """What an instance may use.

    `memory_mb`, `cpu` and `processes` bound an instance with all it has started where the node has cgroups for it (see
    Limits); no limit but where one is given.
    """

    memory_mb: Annotated[int, within(1, 10_000_000, "a whole number of MB")] | None = Field(
        None, description="MB of memory (1,000,000 bytes). What needs more is killed, and started again by its policy"
    )
    cpu: Annotated[float, within(0.01, 10_000, "a number of processors")] | None = Field(
        None, description="processors it may keep busy, such as 0.5 or 2; it waits when it has had them"
    )
    processes: Annotated[int, within(1, 1_000_000, "a whole number")] | None = Field(
        None, description="processes and threads at the same time; starting one more fails"
    )
    open_files: Annotated[int, within(16, 10_000_000, "a whole number")] | None = Field(
        None, description="descriptors each of its processes may have open"
    )
    cpu_seconds: Annotated[int, within(1, 1_000_000_000, "a whole number of seconds")] | None = Field(
        None, description="processor time each of its processes may use in all; SIGXCPU then, SIGKILL 5 s of it later"
    )
    nice: Annotated[int, within(-20, 19, "a whole number")] | None = Field(
        None, description="niceness: 19 lets all others go first; below 0 is for root"
    )


class CapabilitySection(Section):
    """What it can do.

    A list; each capability is named once. A plain string is short for its `name`.
    """

    name: CapabilityName = Field(description="what is asked for")
    type: Token | None = Field(
        _CAPABILITY.type, description="`generation`, `analysis`, `transformation` or a word of your own"
    )
    version: Version = Field(_CAPABILITY.version, description="version of the capability")
    parameters: dict[str, Any] = Field({}, description="what it takes")
    constraints: dict[str, Any] = Field({}, description="what limits it")

    @model_validator(mode="before")
    @classmethod
    def _from_its_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class Manifest(Section):
    """The top level of `agent.yaml`.

    Exactly one of `entrypoint` and `command` is given. Fractions of seconds are allowed. A key that is not listed here
    is a fault.
    """

    version: Version = Field(description='version of the package, for people. Quote what looks like a number: `"1.0"`')
    name: Title | None = Field(
        None,
        description="what people read (the folder's name unless given); the agent's id always comes from the folder",
    )
    type: Token = Field(_SPEC.type, description="kind of agent")
    description: Text = Field(_SPEC.description, description="what it is for")
    model: Title | None = Field(_SPEC.model, description="the model it uses, for finding agents and for metrics")
    entrypoint: Path | None = Field(
        _SPEC.entrypoint,
        description="a Python file (`*.py`) in the folder, run with the interpreter of its environment. It must exist "
        "and, symbolic links followed, lie inside the folder",
    )
    command: Annotated[tuple[Word, ...], listing('a list of strings, such as ["./run", "--fast"]')] = Field(
        _SPEC.command,
        description="any other program with its arguments, never split and never given to a shell. `./run` is a file "
        "of the folder (it must exist and be executable), `/usr/bin/node` is taken as it is, `node` is looked up on "
        "`PATH` at start",
    )
    working_directory: Path | None = Field(
        None, description="absolute or relative to the folder (the folder unless given); it must exist"
    )
    runtime: Annotated[Runtime, one_of(list(Runtime), Runtime)] = Field(
        _SPEC.runtime,
        description="how the process of an `entrypoint` begins: by a fork of an interpreter that is warm, which takes "
        "milliseconds, or by executing one. See Starting",
    )
    preload: Annotated[tuple[ModuleName, ...], listing("a list of module names, such as [httpx]")] = Field(
        (), description="libraries of its environment that are imported before the fork. See Starting"
    )
    capabilities: Annotated[tuple[CapabilitySection, ...], listing("a list of names or mappings")] = Field(
        (), description="what it can do; see below"
    )
    autostart: Flag = Field(_SPEC.autostart, description="started when it is first found")
    on_change: Annotated[OnChange, one_of(list(OnChange), OnChange)] = Field(
        _SPEC.on_change,
        description="when the folder has changed: restart instances one after the other, or let them go on with what "
        "they run until they are restarted",
    )
    ignore: Annotated[tuple[Pattern, ...], listing("a list of patterns as in a .gitignore")] = Field(
        (), description="files that do not count as a change, such as those the agent writes; see Versions"
    )
    replicas: Annotated[int, within(0, 1_000, "a whole number")] = Field(
        _SPEC.replicas, description="number of instances"
    )
    config: dict[str, Any] = Field({}, description="handed to the agent as it is")
    config_schema: Annotated[dict[str, Any], simple("a mapping: a JSON Schema")] | None = Field(
        None, description="a JSON Schema that `config` must meet; see Configuration"
    )
    env: dict[VariableName, Word] = Field({}, description="added to its environment")
    restart: RestartSection = RestartSection()
    readiness: ReadinessSection = ReadinessSection()
    heartbeat: HeartbeatSection | None = HeartbeatSection()
    stop: StopSection = StopSection()
    logs: LogsSection = LogsSection()
    limits: LimitsSection = LimitsSection()
    run_as: Annotated[str, matching(_USER, "user or user:group, by name or number (quote a number)")] | None = Field(
        _SPEC.run_as, description="the user it runs as; the node has to run as root for it. See Limits"
    )
    no_new_privileges: Flag = Field(
        _SPEC.no_new_privileges,
        description="nothing it executes gains privileges by set-user-id bits or file capabilities",
    )

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

    def spec(
        self, *, folder_name: str, directory: str, digest: str, working_directory: str, command: tuple[str, ...]
    ) -> AgentSpec:
        """The domain's value. `directory`, `working_directory` and the program of `command` are absolute already."""
        return AgentSpec(
            name=self.name or folder_name,
            version=self.version,
            directory=directory,
            digest=digest,
            working_directory=working_directory,
            type=self.type,
            description=self.description,
            model=self.model,
            entrypoint=self.entrypoint,
            command=command,
            runtime=self.runtime,
            preload=self.preload,
            capabilities=tuple(Capability(**dict(capability)) for capability in self.capabilities),
            autostart=self.autostart,
            on_change=self.on_change,
            replicas=self.replicas,
            config=self.config,
            config_schema=self.config_schema,
            env=self.env,
            restart=RestartPolicy(**dict(self.restart)),
            readiness=self._readiness(),
            heartbeat=HeartbeatPolicy(**dict(self.heartbeat)) if self.heartbeat is not None else None,
            stop=StopPolicy(**dict(self.stop)),
            logs=LogPolicy(**dict(self.logs)),
            limits=ResourceLimits(**dict(self.limits)),
            run_as=self.run_as,
            no_new_privileges=self.no_new_privileges,
        )

    def _readiness(self) -> Readiness:
        silent = self.heartbeat is None
        mode = ReadinessMode.IMMEDIATE if silent else self.readiness.mode
        return Readiness(mode=mode, timeout_s=self.readiness.timeout_s)
