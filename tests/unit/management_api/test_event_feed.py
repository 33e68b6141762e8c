"""The feed's fairness and its limits."""

from __future__ import annotations

import asyncio

from agent_manager.protocol.subjects import agent_event
from management_api.event_feed import EventFeed, server_sent_event
from tests.harness.fake_manager import event

FRAME = len(server_sent_event(event(1)))


def publish(feed: EventFeed, *sequences: int) -> None:
    """Publish events of the agent `echo`."""
    for sequence in sequences:
        feed.publish(agent_event("echo", "running"), event(sequence).model_dump_json().encode())


async def test_a_reader_takes_all_there_is_at_once() -> None:
    feed = EventFeed(backlog_bytes=10_000)
    with feed.watch() as watcher:
        publish(feed, 1, 2)
        assert await watcher.take() == server_sent_event(event(1)) + server_sent_event(event(2))


async def test_a_reader_that_has_taken_waits_for_more() -> None:
    feed = EventFeed(backlog_bytes=10_000)
    with feed.watch() as watcher:
        publish(feed, 1)
        await watcher.take()
        async with asyncio.TaskGroup() as group:
            taking = group.create_task(watcher.take())
            await asyncio.sleep(0)
            assert not taking.done()
            publish(feed, 2)
        assert taking.result() == server_sent_event(event(2))


async def test_a_reader_too_far_behind_is_ended_and_nothing_is_kept_for_it() -> None:
    feed = EventFeed(backlog_bytes=2 * FRAME)
    with feed.watch() as slow, feed.watch() as quick:
        publish(feed, 1, 2)
        await quick.take()
        publish(feed, 3)
        assert slow.ended.is_set()
        assert await slow.take() == b""
        assert await quick.take() == server_sent_event(event(3))


async def test_one_event_above_the_limit_passes_a_reader_that_keeps_up() -> None:
    feed = EventFeed(backlog_bytes=1)
    with feed.watch() as watcher:
        publish(feed, 1)
        assert await watcher.take() == server_sent_event(event(1))


async def test_closing_ends_everybody_after_what_is_left() -> None:
    feed = EventFeed(backlog_bytes=10_000)
    with feed.watch() as watcher:
        publish(feed, 1)
        feed.close()
        assert await watcher.take() == server_sent_event(event(1))
        assert await watcher.take() == b""
    with feed.watch() as late:
        assert await late.take() == b""


async def test_a_subject_that_is_no_events_is_passed_over() -> None:
    feed = EventFeed(backlog_bytes=10_000)
    with feed.watch() as watcher:
        feed.publish("agent.event.echo.running.twice", event(1).model_dump_json().encode())
        publish(feed, 2)
        assert await watcher.take() == server_sent_event(event(2))
