"""Resources as they are shown: the same JSON over NATS, HTTP and the command line."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from agent_manager.protocol.messages import LogLines, Message


class LastLinesView(Message):
    """The last lines of standard output and standard error, at most 2 KiB of each."""

    out: list[str]
    err: list[str]


class ExitView(Message):
    """How a launch ended. One of `code` and `signal` is set where there was a process.

    `max_rss_bytes` is the most memory its main process has had, `cpu_s` the processor time of that and of the children
    it has waited for. `core_dumped`: the kernel has written a core dump.

    `last_lines` are part of an answer about one agent alone, and as long as the answer does not become too large.
    """

    code: int | None = None
    signal: int | None = None
    reason: str
    message: str
    at: datetime
    core_dumped: bool = False
    max_rss_bytes: int = 0
    cpu_s: float = 0.0
    last_lines: LastLinesView | None = None


class InstanceView(Message):
    """One instance as observed. `version` and `digest` are those of the package its process was started from."""

    id: str
    node: str
    version: str | None = None
    digest: str | None = None
    pid: int | None
    status: str
    reason: str
    incarnation: int
    restarts: int
    started_at: datetime | None
    last_heartbeat: datetime | None
    last_exit: ExitView | None


class CapabilityView(Message):
    """Something an agent can do."""

    name: str
    type: str | None = None
    version: str
    parameters: dict[str, Any] = Field(default_factory=dict)
    constraints: dict[str, Any] = Field(default_factory=dict)


class FaultView(Message):
    """One thing wrong with a package's folder."""

    file: str
    line: int | None = None
    key: str | None = None
    value: str | None = None
    expected: str | None = None
    message: str


class AgentView(Message):
    """A registered agent: what is wanted (`lifecycle`), observed (`instances`), and what follows (`availability`).

    `version` and `digest` are of the package that new processes are started from; `up_to_date` says whether no process
    runs another one, and `available` whether the package's folder is there. `faults` are what is wrong with that folder
    now, while the version before goes on; lists do not tell them.
    """

    id: str
    name: str
    version: str
    digest: str | None = None
    up_to_date: bool = True
    type: str
    description: str
    model: str | None
    package: str
    available: bool = True
    faults: list[FaultView] = Field(default_factory=list)
    lifecycle: str
    availability: str
    health: str
    replicas: int
    capabilities: list[CapabilityView]
    config: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    instances: list[InstanceView]


class AgentList(Message):
    """A page of agents."""

    items: list[AgentView]
    next_page_token: str | None = None


class ChangeResult(Message):
    """The answer to start, stop and restart. `done` says whether every instance has got there already."""

    agent: AgentView
    done: bool


class StatusResult(Message):
    """The short form of an agent."""

    agent_id: str
    lifecycle: str
    availability: str
    health: str
    instances: list[InstanceView]


class UsageView(Message):
    """Resources of an instance's processes at this moment."""

    processes: int
    rss_bytes: int
    cpu_s: float
    threads: int
    open_files: int


class InstanceMetrics(Message):
    """Measured by the node (`process`) and reported by the instance itself (`counters`)."""

    instance_id: str
    pid: int | None
    uptime_s: float | None
    restarts: int
    load: float | None
    process: UsageView | None
    counters: dict[str, float]


class MetricsResult(Message):
    """Metrics of an agent, instance by instance."""

    agent_id: str
    instances: list[InstanceMetrics]


class InstanceSample(Message):
    """One instance at one moment: observed, measured (`process`) and reported by itself (`load`).

    `process.cpu_s` only grows within an incarnation: two samples make a rate.
    """

    id: str
    agent_id: str
    node: str
    status: str
    reason: str
    pid: int | None
    incarnation: int
    restarts: int
    started_at: datetime | None
    last_heartbeat: datetime | None
    load: float | None
    process: UsageView | None
    measured_at: datetime


class InstanceList(Message):
    """A page of instances."""

    items: list[InstanceSample]
    next_page_token: str | None = None


class LogStream(Message):
    """The end of one output stream of one instance. `end_offset` is the number the stream's next byte will have."""

    instance_id: str
    stream: str
    path: str
    lines: list[str]
    end_offset: int


class LogsResult(Message):
    """The latest output of an agent."""

    agent_id: str
    streams: list[LogStream]


class FollowResult(Message):
    """What there is of an instance's output after the bytes that were named; `more`: ask again at once for the rest."""

    agent_id: str
    instance_id: str
    streams: list[LogLines]
    more: bool
    lease_s: float


class PackageView(Message):
    """A package folder as last found.

    `version` is of the last manifest that could be used, `digest` of the present files.
    """

    name: str
    node: str
    path: str
    status: str
    agent_id: str | None
    version: str | None
    digest: str | None = None
    faults: list[FaultView]
    updated_at: datetime


class PackageList(Message):
    """A page of packages."""

    items: list[PackageView]
    next_page_token: str | None = None


class StoreView(Message):
    """Whether a node reaches its database, and since when; `reason` says why not."""

    available: bool
    reason: str | None
    since: datetime


class NodeView(Message):
    """A node and what runs on it. `host` holds name and size of the machine."""

    id: str
    cluster_id: str
    version: str
    manager_pid: int
    launcher_pid: int
    started_at: datetime
    host: dict[str, Any]
    agents: int
    instances: dict[str, int]
    """Number of instances by status."""
    store: StoreView | None = None
    """None from a version that does not tell."""


class NodeList(Message):
    """A page of nodes."""

    items: list[NodeView]
    next_page_token: str | None = None
