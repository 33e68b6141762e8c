"""The newest events: without a gap between them, each once, in bounded memory."""

from __future__ import annotations

import asyncio
import json

import pytest
from structlog.testing import capture_logs

from agent_manager.protocol.subjects import agent_event
from management_api.event_feed import EventFeed, EventFilter, sent_event
from tests.harness.fake_manager import event

SUBJECT = agent_event("echo", "running")


def body(sequence: int) -> bytes:
    return event(sequence).model_dump_json().encode()


def fed(*sequences: int, limit_bytes: int = 1_000_000) -> EventFeed:
    feed = EventFeed(limit_bytes=limit_bytes)
    for sequence in sequences:
        feed.publish(SUBJECT, body(sequence))
    return feed


def sequences(feed: EventFeed, since: int) -> list[int] | None:
    events = feed.since(since)
    return None if events is None else [one.sequence for one in events]


def test_what_is_here_is_told_from_any_place_on() -> None:
    feed = fed(5, 6, 7)
    assert [sequences(feed, since) for since in (4, 5, 7, 8, 9)] == [None, [5, 6, 7], [7], [], []]
    assert sequences(fed(), 1) == []


def test_what_is_told_again_is_passed_over() -> None:
    assert sequences(fed(5, 6, 6, 5, 7), 5) == [5, 6, 7]


def test_after_a_gap_what_was_before_is_left_to_the_stream() -> None:
    feed = fed(5, 6, 9)
    assert [sequences(feed, since) for since in (6, 7, 9)] == [None, None, [9]]


def test_after_a_lost_connection_numbers_may_begin_anew() -> None:
    feed = fed(5, 6)
    feed.lost()
    feed.publish(SUBJECT, body(2))
    assert sequences(feed, 2) == [2]


def test_memory_is_bounded_and_one_event_is_always_kept() -> None:
    (one,) = fed(1).since(1) or ()
    size = len(one.frame)
    assert sequences(fed(1, 2, 3, limit_bytes=2 * size), 2) == [2, 3]
    assert sequences(fed(1, 2, limit_bytes=1), 2) == [2]


def test_nonsense_is_passed_over_live_and_keeps_its_place_in_the_stream() -> None:
    feed = fed(1)
    feed.publish(SUBJECT, b"{")
    assert sequences(feed, 1) == [1]
    for subject, data in ((SUBJECT, b"{"), ("task.event.t1.done", body(7))):
        read = sent_event(subject, data, 7)
        assert read is not None
        assert (read.sequence, read.frame) == (7, b"")
        assert not EventFilter().admits(read)


def test_the_subject_and_the_stream_decide_what_an_event_is() -> None:
    read = sent_event(agent_event("victim", "stopped"), body(1), 7)
    assert read is not None
    assert (read.sequence, read.agent_id, read.type) == (7, "victim", "stopped")
    assert b'"sequence":7,"type":"stopped","agent_id":"victim"' in read.frame


@pytest.mark.parametrize("sequence", [-1, 2**63, 10**40])
def test_a_sequence_that_no_stream_has_makes_no_event(sequence: int) -> None:
    impossible = event(7).model_dump_json().replace('"sequence":7', f'"sequence":{sequence}').encode()
    feed = fed(1)
    feed.publish(SUBJECT, impossible)
    assert sequences(feed, 1) == [1]
    assert sent_event(SUBJECT, impossible) is None


def test_what_is_logged_of_nonsense_is_short_and_holds_nothing_of_it() -> None:
    nonsense = event(1).model_dump(mode="json") | {"at": "secret", "data": ["secret"], "sequence": "secret " * 1_000}
    with capture_logs() as logs:
        assert sent_event(SUBJECT, json.dumps(nonsense).encode()) is None
    assert [(line["event"], line["error"]) for line in logs] == [("event_unreadable", "3 fields are wrong")]


async def test_whoever_waits_is_woken() -> None:
    feed = fed()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(feed.wait(60))
        await asyncio.sleep(0)
        assert not waiting.done()
        feed.publish(SUBJECT, body(1))
    await feed.wait(0.001)
