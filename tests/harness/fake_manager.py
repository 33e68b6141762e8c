"""A manager as the management API meets it: the wire over a real NATS, with answers that a test chooses."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg

from agent_manager.adapters.nats.event_stream import JetStreamEvents, StreamLimits
from agent_manager.protocol import operations, subjects
from agent_manager.protocol.errors import ErrorBody
from agent_manager.protocol.messages import EventMessage, LogLines, Message, Request, Response
from agent_manager.protocol.operations import Operation
from agent_manager.protocol.resources import (
    AgentList,
    AgentView,
    CapabilityView,
    ChangeResult,
    ExitView,
    FaultView,
    FollowResult,
    InstanceList,
    InstanceMetrics,
    InstanceSample,
    InstanceView,
    LastLinesView,
    LogsResult,
    LogStream,
    MetricsResult,
    NodeList,
    NodeView,
    PackageList,
    PackageView,
    StatusResult,
    StoreView,
    UsageView,
)

LIMITS = StreamLimits(max_age_s=3600.0, max_bytes=1 << 24, replicas=1)
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SILENCE = object()
"""An answer that never comes."""

Answer = Callable[[Request], Any]


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it arrived."""

    operation: str
    request: Request
    headers: Mapping[str, str]


class FakeManager:
    """Answers every operation of the API: with a plausible result, or with what it was told."""

    def __init__(self, connection: Client) -> None:
        self.received: list[Received] = []
        self._connection = connection
        self._answers: dict[str, Answer] = {}
        for operation, result in plausible_results().items():
            self.answer(operation, result)

    def answer(self, operation: Operation, result: Message) -> None:
        """Answer `operation` with a success."""
        self.answer_with(operation, lambda _: result)

    def refuse(self, operation: Operation, error: ErrorBody) -> None:
        """Answer `operation` with an error."""
        self.answer_with(operation, lambda _: error)

    def ignore(self, operation: Operation) -> None:
        """Never answer `operation`."""
        self.answer_with(operation, lambda _: SILENCE)

    def answer_with(self, operation: Operation, answer: Answer) -> None:
        """Answer with what `answer` makes of the request, perhaps later: a result, an error, raw bytes or SILENCE."""
        self._answers[operation.name] = answer

    async def announce(self, event: EventMessage, *, body: bytes | None = None) -> EventMessage:
        """Publish an event with the next sequence, or `body` in its place; returns it once it is in the stream."""
        stream = self._connection.jetstream()
        info = await stream.stream_info(subjects.EVENT_STREAM)
        numbered = event.model_copy(update={"sequence": info.state.last_seq + 1})
        subject = subjects.agent_event(event.agent_id, event.type)
        await stream.publish(subject, body or numbered.model_dump_json().encode())
        return numbered

    async def listen(self) -> None:
        """Take requests from now on, with an empty stream of events where there is none."""
        events = JetStreamEvents(lambda: self._connection, LIMITS)
        if await events.open() is None:
            await events.restart(1)
        await self._connection.subscribe(subjects.API_OPERATIONS, subjects.MANAGER_QUEUE, cb=self._handle)
        await self._connection.flush()

    async def _handle(self, message: Msg) -> None:
        name = ".".join(message.subject.split(".")[-2:])
        request = Request.model_validate_json(message.data)
        self.received.append(Received(name, request, dict(message.headers or {})))
        answer = self._answers[name](request)
        if inspect.isawaitable(answer):
            answer = await answer
        if answer is not SILENCE:
            await message.respond(answer if isinstance(answer, bytes) else _encoded(name, request, answer))


@asynccontextmanager
async def answering(connection: Client) -> AsyncIterator[FakeManager]:
    """A fake manager on `connection`, which stays the caller's."""
    manager = FakeManager(connection)
    await manager.listen()
    yield manager


def _encoded(name: str, request: Request, answer: Message | ErrorBody) -> bytes:
    error = answer if isinstance(answer, ErrorBody) else None
    response = Response(
        id=request.id,
        status="success" if error is None else "error",
        command=name,
        agent_id=request.agent_id,
        result=answer.model_dump(mode="json") if error is None else None,
        error=error,
        timestamp=datetime.now(UTC),
    )
    return response.model_dump_json().encode()


# ---------------------------------------------------------------- plausible values


def instance(instance_id: str = "echo_0", **changes: Any) -> InstanceView:
    """A running instance."""
    made = InstanceView(
        id=instance_id,
        node="node-1",
        pid=1234,
        status="running",
        reason="ready",
        incarnation=1,
        restarts=0,
        started_at=AT,
        last_heartbeat=AT,
        last_exit=None,
    )
    return made.model_copy(update=changes)


def crashed(instance_id: str = "echo_0", last_lines: LastLinesView | None = None) -> InstanceView:
    """An instance that was given up."""
    ended = ExitView(code=3, reason="crash", message="exited with code 3", at=AT, last_lines=last_lines)
    return instance(instance_id, pid=None, status="error", reason="10 restarts in 60 s", restarts=10, last_exit=ended)


def agent(agent_id: str = "echo", **changes: Any) -> AgentView:
    """An active agent with one instance."""
    made = AgentView(
        id=agent_id,
        name=agent_id,
        version="1.0.0",
        type="echo",
        description="Says what it is told",
        model=None,
        package=agent_id,
        lifecycle="active",
        availability="active",
        health="unknown",
        replicas=1,
        capabilities=[CapabilityView(name="echo", version="1")],
        config={"greeting": "hello"},
        created_at=AT,
        updated_at=AT,
        instances=[instance(f"{agent_id}_0")],
    )
    return made.model_copy(update=changes)


def sample(instance_id: str = "echo_0", **changes: Any) -> InstanceSample:
    """A running instance, measured seven seconds after its start."""
    made = InstanceSample(
        agent_id=instance_id.rpartition("_")[0],
        load=0.25,
        process=UsageView(processes=1, rss_bytes=20 * 1024 * 1024, cpu_s=0.5, threads=2, open_files=9),
        measured_at=AT + timedelta(seconds=7),
        **instance(instance_id).model_dump(exclude={"last_exit"}),
    )
    return made.model_copy(update=changes)


def event(sequence: int = 1, agent_id: str = "echo", **changes: Any) -> EventMessage:
    """Something that happened to an agent."""
    made = EventMessage(
        sequence=sequence, type="running", agent_id=agent_id, instance_id=f"{agent_id}_0", message="ready", at=AT
    )
    return made.model_copy(update=changes)


def packages() -> PackageList:
    """A valid package and one that is not."""
    valid = PackageView(
        name="echo",
        node="node-1",
        path="/srv/agent_packages/echo",
        status="available",
        agent_id="echo",
        version="1.0.0",
        faults=[],
        updated_at=AT,
    )
    fault = FaultView(
        file="agent.yaml", line=3, key="replicas", value="-1", expected="0 to 1000", message="is too small"
    )
    broken = {"name": "broken", "path": "/srv/agent_packages/broken", "status": "invalid", "agent_id": None}
    invalid = valid.model_copy(update={**broken, "version": None, "faults": [fault]})
    return PackageList(items=[valid, invalid])


def plausible_results() -> Mapping[Operation, Message]:
    """A success for every operation."""
    done = ChangeResult(agent=agent(), done=True)
    usage = UsageView(processes=1, rss_bytes=20_000_000, cpu_s=0.5, threads=2, open_files=9)
    metrics = InstanceMetrics(
        instance_id="echo_0", pid=1234, uptime_s=7.0, restarts=0, load=0.0, process=usage, counters={"echoes": 3.0}
    )
    node = NodeView(
        id="node-1",
        cluster_id="cluster-1",
        version="0.1.0",
        manager_pid=11,
        launcher_pid=10,
        started_at=AT,
        host={"hostname": "host-1"},
        agents=1,
        instances={"running": 1},
        store=StoreView(available=True, reason=None, since=AT),
    )
    out = LogStream(instance_id="echo_0", stream="out", path="/logs/echo_0.out.log", lines=["one", "two"], end_offset=8)
    return {
        operations.AGENTS_LIST: AgentList(items=[agent()]),
        operations.AGENTS_GET: agent(),
        operations.AGENTS_STATUS: StatusResult(
            agent_id="echo", lifecycle="active", availability="active", health="unknown", instances=[instance()]
        ),
        operations.AGENTS_METRICS: MetricsResult(agent_id="echo", instances=[metrics]),
        operations.AGENTS_LOGS: LogsResult(agent_id="echo", streams=[out]),
        operations.AGENTS_FOLLOW: FollowResult(
            agent_id="echo",
            instance_id="echo_0",
            streams=[LogLines(instance_id="echo_0", stream="out", start=0, end=8, lines=["one", "two"])],
            more=False,
            lease_s=15.0,
        ),
        operations.AGENTS_START: done,
        operations.AGENTS_STOP: done,
        operations.AGENTS_RESTART: done,
        operations.INSTANCES_LIST: InstanceList(items=[sample()]),
        operations.PACKAGES_LIST: packages(),
        operations.PACKAGES_RETRY: packages().items[0],
        operations.NODES_LIST: NodeList(items=[node]),
    }
