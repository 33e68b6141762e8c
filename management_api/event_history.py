"""Events as the stream keeps them, read by direct access (ADR-31): no consumer, and nothing is left behind."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from agent_manager.nats_access.cancellation import heed_cancellation
from agent_manager.protocol import subjects
from agent_manager.protocol.errors import ErrorCode, RequestFailedError
from management_api.event_feed import EventFilter, SentEvent, sent_event

PAGE = 256
PAGE_BYTES = 1_000_000
TIMEOUT_S = 5.0
_NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class StreamEnds:
    """The sequences of the first and the last event that the stream has; an empty stream has `last` below `first`."""

    first: int
    last: int


async def ends(client: Client) -> StreamEnds:
    """Where the stream begins and ends. Raises RequestFailedError (`unavailable`)."""
    try:
        answer = await client.request(subjects.EVENT_STREAM_INFO, timeout=TIMEOUT_S)
        info = json.loads(answer.data)
    except (nats.errors.Error, OSError, ValueError) as error:
        raise _unavailable(str(error) or type(error).__name__) from error
    if "error" in info:
        raise _unavailable(str(info["error"].get("description")))
    return StreamEnds(info["state"]["first_seq"], info["state"]["last_seq"])


async def read(client: Client, wanted: EventFilter, *, first: int, last: int) -> AsyncIterator[list[SentEvent]]:
    """The wanted events from sequence `first` to `last`, in order, page by page.

    Raises RequestFailedError (`unavailable`) when the server does not answer.
    """
    while first <= last:
        page, is_more = await _page(client, wanted, first)
        yield [event for event in page if event.sequence <= last and wanted.admits(event)]
        if not page or not is_more:
            return
        first = page[-1].sequence + 1


async def _page(client: Client, wanted: EventFilter, first: int) -> tuple[list[SentEvent], bool]:
    asked = {"seq": first, "next_by_subj": _pattern(wanted), "batch": PAGE, "max_bytes": PAGE_BYTES}
    inbox = client.new_inbox()
    page: list[SentEvent] = []
    try:
        answers = await client.subscribe(inbox)
        try:
            await client.publish(subjects.EVENT_STREAM_GET, json.dumps(asked).encode(), reply=inbox)
            while True:
                answer = await answers.next_msg(timeout=TIMEOUT_S)
                heed_cancellation()
                headers: dict[str, Any] = dict(answer.headers or {})
                if "Status" in headers:
                    return page, _is_more(headers)
                page.append(_event(answer, headers))
        finally:
            if client.is_connected:
                await answers.unsubscribe()
    except (nats.errors.Error, OSError) as error:
        raise _unavailable(str(error) or type(error).__name__) from error


def _event(answer: Msg, headers: dict[str, Any]) -> SentEvent:
    sequence = int(headers["Nats-Sequence"])
    return sent_event(headers["Nats-Subject"], answer.data, sequence) or SentEvent(sequence, None, None, b"")


def _is_more(headers: dict[str, Any]) -> bool:
    """From the message that ends a page. Raises RequestFailedError where it is a refusal."""
    status = int(headers["Status"])
    if status == _NOT_FOUND:
        return False
    if status >= 400:
        raise _unavailable(f"{status} {headers.get('Description', '')}")
    return int(headers.get("Nats-Num-Pending", 0)) > 0


def _pattern(wanted: EventFilter) -> str:
    if wanted == EventFilter():
        return ">"
    return subjects.agent_event_pattern(wanted.agent_id, wanted.type)


def _unavailable(why: str) -> RequestFailedError:
    return RequestFailedError(
        ErrorCode.UNAVAILABLE,
        f"the stream {subjects.EVENT_STREAM} cannot be read ({why}); it is there once a manager has been connected",
        retryable=True,
    )
