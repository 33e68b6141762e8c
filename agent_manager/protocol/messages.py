"""The messages of the wire: requests, responses, heartbeats, metrics, events.

Unknown fields are ignored, so that a newer side can speak to an older one; missing and wrong ones are refused with the
field's name.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, FiniteFloat, NonNegativeInt

from agent_manager.protocol.errors import ErrorBody


class Message(BaseModel):
    """Base of everything that travels."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Request(Message):
    """A request on an operation's own subject: nothing of it is obligatory but what the operation needs."""

    id: str | None = Field(default=None, max_length=128)
    agent_id: str | None = Field(default=None, max_length=256)
    params: dict[str, Any] = Field(default_factory=dict)
    timestamp: AwareDatetime | None = None
    deadline: AwareDatetime | None = None
    """The moment at which the sender gives up. A request read later is refused: nobody waits for it any more."""


class Envelope(Request):
    """A request on `agent.manager.command`, `agent.manager.query`, `agent.{id}.command` or `agent.{id}.query` (R51)."""

    command: str = Field(max_length=128)
    params: dict[str, Any]
    timestamp: AwareDatetime


class Response(Message):
    """The answer to a request (R51)."""

    id: str | None = None
    status: Literal["success", "error"]
    command: str
    agent_id: str | None = None
    result: Any = None
    error: ErrorBody | None = None
    timestamp: datetime


class StatusReport(Message):
    """A heartbeat, published by a launch. `load` is 0 (idle) to 1 (full); `running` lists attempts it holds."""

    number: NonNegativeInt
    incarnation: NonNegativeInt = 0
    status: Literal["starting", "running", "paused", "draining"] = "running"
    load: float = Field(default=0.0, ge=0.0, le=1e6)
    running: list[str] = Field(default_factory=list, max_length=10_000)
    metadata: dict[str, Any] = Field(default_factory=dict)
    timestamp: AwareDatetime


class MetricsReport(Message):
    """Counters of one launch since its start, published now and then."""

    counters: dict[str, FiniteFloat] = Field(default_factory=dict, max_length=1_000)
    timestamp: AwareDatetime


class SharedStatusReport(StatusReport):
    """A heartbeat on `agent.status`, from a launch to which the server gives no identity of its own."""

    instance_id: str
    launch_id: str


class SharedMetricsReport(MetricsReport):
    """Counters on `agent.metrics`, likewise."""

    instance_id: str
    launch_id: str


class EventMessage(Message):
    """A committed event on the feed. `sequence` is its place in the stream."""

    sequence: int = Field(ge=0, lt=2**63)
    type: str
    agent_id: str
    instance_id: str | None = None
    message: str
    actor: str | None = None
    data: dict[str, Any] = Field(default_factory=dict)
    at: datetime


class LogLines(Message):
    """Lines of an output stream: its bytes `start` to before `end`, which are numbered from 0 on for ever.

    `unfinished`: the last line goes on with the byte `end`.
    """

    instance_id: str
    stream: Literal["out", "err"]
    start: NonNegativeInt
    end: NonNegativeInt
    lines: list[str]
    unfinished: bool = False


class StatusUpdate(Message):
    """A change of an instance's status, published by the manager on `agent.status`."""

    agent_id: str
    instance_id: str
    status: str
    metadata: dict[str, Any] = Field(default_factory=dict)
    timestamp: datetime


class MetricsUpdate(Message):
    """What an instance reported of itself, published by the manager on `agent.metrics`."""

    agent_id: str
    instance_id: str
    counters: dict[str, float]
    timestamp: datetime
