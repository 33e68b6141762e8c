"""What a user of the bus may publish and subscribe to, generated in one place.

No subject may be both publishable and subscribable by an agent: it could send itself a message whose reply subject is a
manager's operation, and would then be allowed to "reply" there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent_manager.protocol import subjects

REPLIES_MAX = 64
"""Replies an agent may send to one request (streams of partial answers included)."""
REPLIES_TTL_S = 3600
"""How long after a request its receiver may still reply, in seconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Permissions:
    """Subject patterns; what is denied is taken from what is allowed.

    `replies` allows answers to what was received, bounded in number and time, even where publishing is denied.
    """

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    publish_denied: tuple[str, ...] = ()
    subscribe_denied: tuple[str, ...] = ()
    replies: bool = False


def of_launch(*, agent_id: str, node_id: str, instance_id: str, launch_id: str) -> Permissions:
    """The permissions of one launch of one instance. Raises ValueError should a subject be allowed both ways."""
    speaker = subjects.LaunchSubject(node_id=node_id, instance_id=instance_id, launch_id=launch_id)
    permissions = Permissions(
        publish=(
            subjects.launch_status(speaker),
            subjects.launch_metrics(speaker),
            subjects.launch_calls(instance_id, launch_id),
            subjects.task_results(instance_id, launch_id),
            subjects.task_outputs(instance_id, launch_id),
            subjects.agent_response(agent_id),
        ),
        subscribe=(
            subjects.agent_command(agent_id),
            subjects.agent_query(agent_id),
            subjects.agent_requests(instance_id),
            f"{subjects.inbox_prefix(instance_id, launch_id)}.>",
            *(
                f"$SRV.{verb}{tail}"
                for verb in ("PING", "INFO", "STATS")
                for tail in ("", f".{agent_id}", f".{agent_id}.*")
            ),
        ),
        replies=True,
    )
    _refuse_overlap(permissions)
    return permissions


OF_MANAGER = Permissions(publish=(">",), subscribe=(">",))
"""The account: it administers streams, and asks and answers everybody."""

NEEDED_BY_MANAGER = Permissions(
    publish=("agent.>", "task.>", "$JS.API.>", subjects.MANAGER_PULSE),
    subscribe=("agent.>", "task.>", "$SRV.>", f"{subjects.MANAGER_INBOX_PREFIX}.>"),
    replies=True,
)
"""The least a manager gets on with on a server of somebody else's."""

OF_API = Permissions(
    publish=(subjects.API_OPERATIONS, subjects.EVENT_STREAM_INFO, subjects.EVENT_STREAM_GET),
    subscribe=(*subjects.EVENT_STREAM_SUBJECTS, subjects.ALL_LOG_LINES, f"{subjects.API_INBOX_PREFIX}.>"),
)
"""The management API: its own operations, and what it follows for those who watch."""

_MANAGERS_AND_API_ONLY = (
    subjects.API_OPERATIONS,
    subjects.NODE_REQUESTS,
    f"{subjects.MANAGER_INBOX_PREFIX}.>",
    f"{subjects.API_INBOX_PREFIX}.>",
)

OF_SERVICE = Permissions(
    publish=(">",),
    subscribe=(">",),
    publish_denied=(
        *_MANAGERS_AND_API_ONLY,
        *subjects.ALL_LAUNCH_SUBJECTS,
        subjects.ALL_AGENT_EVENTS,
        subjects.ALL_TASK_EVENTS,
        subjects.ALL_LOG_LINES,
        # JetStream publishes in the server's own name, to any subject it is given for an answer, a push consumer or a
        # republication: whoever may ask it for something may speak as anybody.
        "$JS.>",
    ),
    subscribe_denied=_MANAGERS_AND_API_ONLY,
)
"""Operators' tools and other services: everything but to speak as somebody else, and to listen where only one is meant.

No `replies`, which lift what is denied: a service could ask itself with a reply subject of its choice. It can therefore
not answer a request of a manager or of the API, and is never asked one.
"""


def overlaps(left: str, right: str) -> bool:
    """Whether some subject matches both patterns (`*` one token, `>` one or more)."""
    return _overlap(left.split("."), right.split("."))


def _overlap(left: Sequence[str], right: Sequence[str]) -> bool:
    for one, other in zip(left, right, strict=False):
        if one == ">" or other == ">":
            return True
        if one != other and one != "*" and other != "*":
            return False
    return len(left) == len(right)


def _refuse_overlap(permissions: Permissions) -> None:
    subscribed = [subscribe.split(".") for subscribe in permissions.subscribe]
    for publish in permissions.publish:
        tokens = publish.split(".")
        for subscribe in subscribed:
            if _overlap(tokens, subscribe):
                pattern = ".".join(subscribe)
                raise ValueError(f"an agent would be able to publish and to subscribe to {publish} (as {pattern})")
