"""What is in the public stream of events, and what its subscribers heard."""

from __future__ import annotations

import json
from dataclasses import dataclass

from nats.aio.client import Client
from nats.js.errors import NotFoundError

from agent_manager.protocol import subjects


@dataclass(frozen=True, slots=True)
class Stored:
    """A message of the stream."""

    sequence: int
    subject: str
    body: dict[str, object]


async def stored_events(manager: Client) -> list[Stored]:
    """All of them, oldest first."""
    stream = manager.jetstream()
    try:
        state = (await stream.stream_info(subjects.EVENT_STREAM)).state
    except NotFoundError:
        return []
    found = []
    for sequence in range(state.first_seq, state.last_seq + 1):
        message = await stream.get_msg(subjects.EVENT_STREAM, sequence, direct=True)
        found.append(Stored(sequence, str(message.subject), json.loads(message.data or b"")))
    return found
