"""Every operation of the manager: its name, whom it addresses, its parameters and its result.

One table for all transports: NATS endpoints, envelopes, HTTP routes and clients are made from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pydantic import Field

from agent_manager.protocol import resources
from agent_manager.protocol.messages import Message

MAX_WAIT_S = 300.0
"""The longest a request may be held until what it asked for is done."""
MAX_PAGE_SIZE = 1_000
MAX_LOG_LINES = 10_000
MAX_LEASE_S = 60.0
"""The longest an instance's output is published without anybody asking again."""


class Kind(StrEnum):
    """A command changes desired state; a query changes nothing."""

    COMMAND = "command"
    QUERY = "query"


class NoParams(Message):
    """The operation takes no parameters."""


class ChangeParams(Message):
    """Parameters of start, stop and restart."""

    wait_s: float = Field(default=0.0, ge=0.0, le=MAX_WAIT_S, allow_inf_nan=False)
    """Seconds to hold the answer until it is done; 0 answers once the wish is committed."""


class PageParams(Message):
    """Parameters of a list. Pages are in order of id."""

    page_size: int = Field(default=100, ge=1, le=MAX_PAGE_SIZE)
    page_token: str | None = Field(default=None, max_length=512)


class PackageParams(Message):
    """Parameters of what addresses a package."""

    name: str = Field(min_length=1, max_length=255)
    """The folder's name."""


class LogsParams(Message):
    """Parameters of logs."""

    tail: int = Field(default=100, ge=1, le=MAX_LOG_LINES)
    """Lines from the end of each stream."""
    instance_id: str | None = None
    """Only this instance."""


class FollowParams(Message):
    """Parameters of follow: one instance, and from which byte of each stream on."""

    instance_id: str | None = None
    """Default: the first."""
    out: int | None = Field(default=None, ge=0)
    """Number of the byte of standard output to go on with; without it, `tail` lines from the end."""
    err: int | None = Field(default=None, ge=0)
    """Likewise of standard error."""
    tail: int = Field(default=0, ge=0, le=MAX_LOG_LINES)
    lease_s: float = Field(default=15.0, ge=0.0, le=MAX_LEASE_S, allow_inf_nan=False)
    """Seconds from now for which what follows is published."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """One operation. `agent` says whether it needs an `agent_id`."""

    resource: str
    verb: str
    kind: Kind
    params: type[Message]
    result: type[Message]
    agent: bool
    summary: str

    @property
    def name(self) -> str:
        """`{resource}.{verb}`, the `command` of its responses."""
        return f"{self.resource}.{self.verb}"


AGENTS_LIST = Operation(
    resource="agents",
    verb="list",
    kind=Kind.QUERY,
    agent=False,
    params=PageParams,
    result=resources.AgentList,
    summary="All agents",
)
AGENTS_GET = Operation(
    resource="agents",
    verb="get",
    kind=Kind.QUERY,
    agent=True,
    params=NoParams,
    result=resources.AgentView,
    summary="One agent",
)
AGENTS_STATUS = Operation(
    resource="agents",
    verb="status",
    kind=Kind.QUERY,
    agent=True,
    params=NoParams,
    result=resources.StatusResult,
    summary="Lifecycle, availability and instances of an agent",
)
AGENTS_METRICS = Operation(
    resource="agents",
    verb="metrics",
    kind=Kind.QUERY,
    agent=True,
    params=NoParams,
    result=resources.MetricsResult,
    summary="Resource use and counters of an agent",
)
AGENTS_LOGS = Operation(
    resource="agents",
    verb="logs",
    kind=Kind.QUERY,
    agent=True,
    params=LogsParams,
    result=resources.LogsResult,
    summary="The latest output of an agent",
)
AGENTS_FOLLOW = Operation(
    resource="agents",
    verb="follow",
    kind=Kind.QUERY,
    agent=True,
    params=FollowParams,
    result=resources.FollowResult,
    summary="The output of an instance from some byte on, and for a while what follows on agent.log",
)
AGENTS_START = Operation(
    resource="agents",
    verb="start",
    kind=Kind.COMMAND,
    agent=True,
    params=ChangeParams,
    result=resources.ChangeResult,
    summary="Let an agent run",
)
AGENTS_STOP = Operation(
    resource="agents",
    verb="stop",
    kind=Kind.COMMAND,
    agent=True,
    params=ChangeParams,
    result=resources.ChangeResult,
    summary="Stop an agent",
)
AGENTS_RESTART = Operation(
    resource="agents",
    verb="restart",
    kind=Kind.COMMAND,
    agent=True,
    params=ChangeParams,
    result=resources.ChangeResult,
    summary="Give every instance of an agent a new process",
)
INSTANCES_LIST = Operation(
    resource="instances",
    verb="list",
    kind=Kind.QUERY,
    agent=False,
    params=PageParams,
    result=resources.InstanceList,
    summary="All instances of all agents, with what their processes use at this moment",
)
PACKAGES_LIST = Operation(
    resource="packages",
    verb="list",
    kind=Kind.QUERY,
    agent=False,
    params=PageParams,
    result=resources.PackageList,
    summary="All packages, with what is wrong with those that are invalid",
)
PACKAGES_RETRY = Operation(
    resource="packages",
    verb="retry",
    kind=Kind.COMMAND,
    agent=False,
    params=PackageParams,
    result=resources.PackageView,
    summary="Make the environment of a package again that could not be made",
)
NODES_LIST = Operation(
    resource="nodes",
    verb="list",
    kind=Kind.QUERY,
    agent=False,
    params=PageParams,
    result=resources.NodeList,
    summary="All nodes",
)

OPERATIONS: tuple[Operation, ...] = (
    AGENTS_LIST,
    AGENTS_GET,
    AGENTS_STATUS,
    AGENTS_METRICS,
    AGENTS_LOGS,
    AGENTS_FOLLOW,
    AGENTS_START,
    AGENTS_STOP,
    AGENTS_RESTART,
    INSTANCES_LIST,
    PACKAGES_LIST,
    PACKAGES_RETRY,
    NODES_LIST,
)


def of_envelope(command: str) -> Operation | None:
    """The operation an envelope's `command` names: a full name, or the bare verb of an operation on agents (R51)."""
    full = command if "." in command else f"agents.{command}"
    return next((operation for operation in OPERATIONS if operation.name == full), None)
