"""Every subject, built and parsed here and nowhere else.

Who speaks on which subject is described in `docs/wire.md`. Builders raise ValueError for a token that a subject cannot
carry; parsers return None for a subject that is not of their kind.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

TOKEN_PATTERN = r"[a-z0-9][a-z0-9_-]{0,62}"
"""What may stand between two dots."""

_TOKEN = re.compile(TOKEN_PATTERN)

MANAGER_COMMAND = "agent.manager.command"
MANAGER_QUERY = "agent.manager.query"
MANAGER_RESPONSE = "agent.manager.response"
STATUS_FEED = "agent.status"
METRICS_FEED = "agent.metrics"
ALL_AGENT_EVENTS = "agent.event.>"
ALL_TASK_EVENTS = "task.event.>"
ALL_LOG_LINES = "agent.log.>"
EVENT_STREAM = "EVENTS"
"""JetStream stream of all events."""
EVENT_STREAM_SUBJECTS = (ALL_AGENT_EVENTS, ALL_TASK_EVENTS)
EVENT_STREAM_INFO = f"$JS.API.STREAM.INFO.{EVENT_STREAM}"
"""Tells its first and last sequence."""
EVENT_STREAM_GET = f"$JS.API.DIRECT.GET.{EVENT_STREAM}"
"""Messages of it, without a consumer (ADR-31)."""
SERVICE_NAME = "agent-manager"
"""Name of the manager as a NATS micro service (ADR-32)."""
MANAGER_QUEUE = "managers"
"""Queue group in which managers share requests that any of them can answer."""


def token(value: str) -> str:
    """Return `value` when it can stand between two dots. Raises ValueError naming it otherwise."""
    if not _TOKEN.fullmatch(value):
        raise ValueError(f"{value!r} cannot be a subject token: it must match {TOKEN_PATTERN}")
    return value


def _join(*parts: str) -> str:
    return ".".join(("agent", *(token(part) for part in parts)))


# ---------------------------------------------------------------- towards managers


def operation(resource: str, verb: str) -> str:
    """`agent.manager.{resource}.{verb}`, one endpoint per operation, for services and tools."""
    return _join("manager", resource, verb)


def api_operation(resource: str, verb: str) -> str:
    """`agent.manager.api.{resource}.{verb}`, the same for the management API, whose `actor` is believed."""
    return _join("manager", "api", resource, verb)


API_OPERATIONS = "agent.manager.api.>"
NODE_REQUESTS = "agent.manager.node.>"
INBOX_PREFIX = "_INBOX"
"""Every inbox begins so, whoever listens there; nothing else does."""
MANAGER_INBOX_PREFIX = "_INBOX_manager"
"""Prefix of the managers' inboxes. What nobody else may subscribe to is where a manager expects its answers."""
MANAGER_PULSE = f"{MANAGER_INBOX_PREFIX}.pulse"
"""Nobody subscribes to it, and nobody else may: the server itself answers at once that there are no responders."""
API_INBOX_PREFIX = "_INBOX_api"
"""Prefix of the management API's inboxes."""

# ---------------------------------------------------------------- towards agents


def agent_command(agent_or_instance_id: str) -> str:
    """`agent.{id}.command`, to any instance of an agent (queue group) or to one instance."""
    return _join(agent_or_instance_id, "command")


def agent_query(agent_or_instance_id: str) -> str:
    """`agent.{id}.query`, likewise."""
    return _join(agent_or_instance_id, "query")


def agent_response(agent_id: str) -> str:
    """`agent.{id}.response`, where answers go whose request named no reply subject."""
    return _join(agent_id, "response")


def agent_requests(instance_id: str) -> str:
    """`agent.{instance_id}.>`, everything addressed to one instance."""
    return f"{_join(instance_id)}.>"


# ---------------------------------------------------------------- from launches


@dataclass(frozen=True, slots=True)
class LaunchSubject:
    """Who speaks, as the server vouches for it: the launch's permissions admit no other subject."""

    node_id: str
    instance_id: str
    launch_id: str


def launch_status(speaker: LaunchSubject) -> str:
    """`agent.status.{node_id}.{instance_id}.{launch_id}`, heartbeats."""
    return _join("status", speaker.node_id, speaker.instance_id, speaker.launch_id)


def launch_metrics(speaker: LaunchSubject) -> str:
    """`agent.metrics.{node_id}.{instance_id}.{launch_id}`, counters."""
    return _join("metrics", speaker.node_id, speaker.instance_id, speaker.launch_id)


def node_statuses(node_id: str) -> str:
    """What a node subscribes to for the heartbeats of its launches."""
    return f"{_join('status', node_id)}.*.*"


def node_metrics(node_id: str) -> str:
    """What a node subscribes to for the metrics of its launches."""
    return f"{_join('metrics', node_id)}.*.*"


# Every heartbeat comes on the subject of its launch, over and over.
@lru_cache(maxsize=4_096)
def parse_launch_subject(subject: str) -> LaunchSubject | None:
    """The speaker of an `agent.status.…` or `agent.metrics.…` subject, None for any other."""
    parts = subject.split(".")
    if len(parts) != 5 or parts[0] != "agent" or parts[1] not in ("status", "metrics"):
        return None
    if not all(_TOKEN.fullmatch(part) for part in parts[2:]):
        return None
    return LaunchSubject(node_id=parts[2], instance_id=parts[3], launch_id=parts[4])


def launch_calls(instance_id: str, launch_id: str) -> str:
    """`agent.call.{instance_id}.{launch_id}.>`, what a launch may ask for itself."""
    return f"{_join('call', instance_id, launch_id)}.>"


ALL_LAUNCH_SUBJECTS = ("agent.status.>", "agent.metrics.>", "agent.call.>", "task.result.>", "task.output.>")
"""What launches alone may publish on. The managers' feeds, `agent.status` and `agent.metrics`, are none of it."""


def task_results(instance_id: str, launch_id: str) -> str:
    """`task.result.{instance_id}.{launch_id}.>`, terminal results of attempts."""
    return f"task.result.{token(instance_id)}.{token(launch_id)}.>"


def task_outputs(instance_id: str, launch_id: str) -> str:
    """`task.output.{instance_id}.{launch_id}.>`, progress and partial output."""
    return f"task.output.{token(instance_id)}.{token(launch_id)}.>"


def inbox_prefix(instance_id: str, launch_id: str) -> str:
    """Prefix of the inboxes of one launch; no other launch may subscribe there.

    Unambiguous, since an instance id holds exactly one underscore.
    """
    return f"_INBOX_{token(instance_id)}_{token(launch_id)}"


# ---------------------------------------------------------------- the feed


def agent_event(agent_id: str, event: str) -> str:
    """`agent.event.{agent_id}.{event}`."""
    return _join("event", agent_id, event)


def agent_event_pattern(agent_id: str | None = None, event: str | None = None) -> str:
    """The events of one agent, of one type, or both; None stands for all."""
    return ".".join((_join("event"), *("*" if part is None else token(part) for part in (agent_id, event))))


def log_lines(instance_id: str, stream: str) -> str:
    """`agent.log.{instance_id}.{stream}`, live output; the stream is `out` or `err`."""
    return _join("log", instance_id, stream)


def instance_log_lines(instance_id: str) -> str:
    """Both streams of an instance."""
    return f"{_join('log', instance_id)}.*"


def parse_agent_event(subject: str) -> tuple[str, str] | None:
    """Agent id and event of an `agent.event.…` subject, None for any other."""
    parts = subject.split(".")
    if len(parts) != 4 or parts[:2] != ["agent", "event"] or not all(_TOKEN.fullmatch(part) for part in parts[2:]):
        return None
    return parts[2], parts[3]


def parse_log_lines(subject: str) -> tuple[str, Literal["out", "err"]] | None:
    """Instance id and stream of an `agent.log.…` subject, None for any other."""
    parts = subject.split(".")
    if len(parts) != 4 or parts[:2] != ["agent", "log"] or not _TOKEN.fullmatch(parts[2]):
        return None
    match parts[3]:
        case "out" | "err" as stream:
            return parts[2], stream
    return None
