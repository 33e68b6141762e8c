"""The JetStream stream `EVENTS`: implements `ports.bus.EventStream`.

The sequence of a message is the number of its event. It is published with the sequence it has to follow and with an id
of the stream's generation and its number, so that it is stored once, or refused.
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import nats.errors
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js import errors as js_errors
from nats.js.api import Header, RetentionPolicy, StorageType, StreamConfig, StreamInfo, StreamState

from agent_manager.adapters.nats import event_bodies
from agent_manager.domain.errors import UnavailableError
from agent_manager.domain.events import Event
from agent_manager.protocol import subjects

T = TypeVar("T")

AT_ONCE = 64
"""Messages that share one answer of the server."""
DUPLICATES_S = 120.0
"""How long the server knows an id of a message."""
ANSWER_S = 5.0
NOT_FOUND = "404"
GENERATION = "generation"
"""Key of the stream's metadata: which making of the stream this is."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamLimits:
    """How much the stream holds, and on how many servers."""

    max_age_s: float
    max_bytes: int
    replicas: int


class JetStreamEvents:
    """The stream, through whichever client there is. Every method raises UnavailableError when it cannot be reached."""

    def __init__(self, client: Callable[[], Client | None], limits: StreamLimits) -> None:
        """`client` is the connected client, None while there is none."""
        self._client = client
        self._limits = limits
        self._generation = ""

    async def open(self) -> int | None:
        """See the port."""
        async with self._reached() as (client, stream):
            try:
                info = await stream.stream_info(subjects.EVENT_STREAM)
            except js_errors.NotFoundError:
                return None
            self._generation = self._generation_of(info)
            await self._mend(stream, info)
            if not await self._has_only_events(client, info.state):
                log.warning("event_stream_spoiled", extra={"stream": subjects.EVENT_STREAM})
                return None
            return info.state.last_seq

    async def restart(self, first: int) -> None:
        """See the port."""
        self._generation = uuid.uuid4().hex
        async with self._reached() as (_, stream):
            with suppress(js_errors.NotFoundError):
                await stream.delete_stream(subjects.EVENT_STREAM)
            await stream.add_stream(StreamConfig(**self._wanted(), first_seq=first))

    async def publish(self, events: Sequence[Event]) -> None:
        """See the port."""
        async with self._reached() as (client, stream):
            limit = client.max_payload // 2
            for begin in range(0, len(events), AT_ONCE):
                run = events[begin : begin + AT_ONCE]
                try:
                    await self._publish(client, stream, run, limit)
                except js_errors.APIError:
                    if len(run) > 1:
                        # The last one was refused because an earlier one was: alone, the first is told why.
                        await self._publish(client, stream, run[:1], limit)
                    raise

    async def _publish(self, client: Client, stream: JetStreamContext, events: Sequence[Event], limit: int) -> None:
        """Each is taken only behind the one before it, so that the answer to the last one answers for all."""
        for event, follows in zip(events, (None, *events), strict=False):
            subject, body = event_bodies.subject_of(event), event_bodies.encoded(event, limit)
            headers = self._headers(_number(event), follows)
            if event is not events[-1]:
                await client.publish(subject, body, headers=headers)
                continue
            answer = await stream.publish(subject, body, headers=headers)
            if answer.seq != event.number:
                place = f"the stream {answer.stream} has event {event.number} as {answer.seq}"
                raise UnavailableError(f"{place}: somebody else publishes there")

    def _headers(self, number: int, follows: Event | None) -> dict[str, str]:
        headers = {
            Header.EXPECTED_STREAM.value: subjects.EVENT_STREAM,
            Header.EXPECTED_LAST_SEQUENCE.value: str(number - 1),
            Header.MSG_ID.value: self._message_id(number),
        }
        if follows is not None:
            # By its id, too: what has its sequence may be somebody else's.
            headers[Header.EXPECTED_LAST_MSG_ID.value] = self._message_id(_number(follows))
        return headers

    async def _has_only_events(self, client: Client, state: StreamState) -> bool:
        """Whether nobody else has put anything where the latest events belong: it would stand in the place of one.

        Earlier ones were there before the publisher met what it could not add to.
        """
        first = max(state.first_seq, state.last_seq - AT_ONCE + 1)
        latest = range(first, state.last_seq + 1)
        return all(await _all(self._is_event(client, sequence) for sequence in latest))

    async def _is_event(self, client: Client, sequence: int) -> bool:
        """Whether that is an event, or gone."""
        question = json.dumps({"seq": sequence}).encode()
        answer = await client.request(subjects.EVENT_STREAM_GET, question, timeout=ANSWER_S)
        heads = answer.headers or {}
        is_gone = heads.get(Header.STATUS.value) == NOT_FOUND
        return is_gone or heads.get(Header.MSG_ID.value) == self._message_id(sequence)

    def _message_id(self, number: int) -> str:
        return f"{self._generation}.{number}"

    def _generation_of(self, info: StreamInfo) -> str:
        generation = (info.config.metadata or {}).get(GENERATION)
        if generation is None:
            raise UnavailableError(
                f"there is a stream {subjects.EVENT_STREAM} that no manager has made, on {info.config.subjects}: it is "
                "left alone. Give agent-manager a NATS account of its own, or remove that stream; until then events "
                "wait in the database"
            )
        return generation

    async def _mend(self, stream: JetStreamContext, info: StreamInfo) -> None:
        """A stream that was made with other limits, or changed by hand, becomes what it should be."""
        wanted = self._wanted()
        # The server adds metadata of its own.
        del wanted["metadata"]
        if any(getattr(info.config, name) != value for name, value in wanted.items()):
            log.warning("event_stream_mended", extra={"stream": subjects.EVENT_STREAM})
            await stream.update_stream(info.config.evolve(**wanted))

    def _wanted(self) -> dict[str, Any]:
        return {
            "name": subjects.EVENT_STREAM,
            "subjects": list(subjects.EVENT_STREAM_SUBJECTS),
            "retention": RetentionPolicy.LIMITS,
            "storage": StorageType.FILE,
            "max_age": self._limits.max_age_s,
            # The server refuses a longer memory for messages than for their ids.
            "duplicate_window": min(DUPLICATES_S, self._limits.max_age_s),
            "max_bytes": self._limits.max_bytes,
            "num_replicas": self._limits.replicas,
            # The management API reads without a consumer.
            "allow_direct": True,
            "metadata": {GENERATION: self._generation},
        }

    @asynccontextmanager
    async def _reached(self) -> AsyncIterator[tuple[Client, JetStreamContext]]:
        client = self._client()
        if client is None:
            raise UnavailableError("no connection to NATS: events wait in the database")
        try:
            yield client, client.jetstream()
        except (nats.errors.Error, OSError) as error:
            raise UnavailableError(
                f"the stream {subjects.EVENT_STREAM} does not take events: {error or type(error).__name__}"
            ) from error


def _number(event: Event) -> int:
    assert event.number is not None
    return event.number


async def _all(working: Iterable[Awaitable[T]]) -> list[T]:
    """What all of them return. The first error is raised once all have ended: none is left at work."""
    outcomes = await asyncio.gather(*working, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return cast(list[T], outcomes)
