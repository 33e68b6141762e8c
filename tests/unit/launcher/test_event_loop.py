"""The loop wakes up for events and timers, and for nothing else."""

import os
import signal
import time
from collections.abc import Iterator
from functools import partial

import pytest

from agent_manager.launcher.deadlines import Deadlines
from agent_manager.launcher.event_loop import EventLoop


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    loop = EventLoop()
    yield loop
    loop.close()


def test_timers_run_in_the_order_they_are_due(loop: EventLoop) -> None:
    order: list[str] = []
    loop.call_later(0.03, loop.stop)
    loop.call_later(0.02, lambda: order.append("second"))
    loop.call_later(0.01, lambda: order.append("first"))
    loop.call_later(0.0, lambda: order.append("never")).cancel()
    loop.run()
    assert order == ["first", "second"]


def test_a_timer_set_by_a_timer_waits_for_the_next_round(loop: EventLoop) -> None:
    rounds: list[str] = []
    loop.after_events(lambda: rounds.append("round"))

    def again() -> None:
        rounds.append("timer")
        if rounds.count("timer") == 3:
            loop.stop()
        else:
            loop.call_later(0.0, again)

    loop.call_later(0.0, again)
    loop.run()
    assert [entry for entry, before in zip(rounds[1:], rounds, strict=False) if before == "timer"] == ["round"] * 3


def test_a_descriptor_closed_in_the_same_round_is_not_called(loop: EventLoop) -> None:
    pipes = [os.pipe2(os.O_NONBLOCK) for _ in range(2)]
    called: list[int] = []

    def close_both(index: int) -> None:
        called.append(index)
        for reader, writer in pipes:
            loop.unwatch(reader)
            os.close(reader)
            os.close(writer)
        loop.stop()

    for index, (reader, writer) in enumerate(pipes):
        os.write(writer, b"x")
        loop.watch(reader, partial(close_both, index))
    loop.run()
    assert len(called) == 1


def test_a_callback_that_fails_is_a_warning(loop: EventLoop, capfd: pytest.CaptureFixture[str]) -> None:
    loop.call_later(0.0, lambda: os.close(-1))
    loop.call_later(0.0, loop.stop)
    loop.run()
    assert capfd.readouterr().err.startswith("launcher: OSError in ")


def test_every_signal_counts(loop: EventLoop) -> None:
    received: list[str] = []

    def receive() -> None:
        received.append("signal")
        if len(received) == 1:
            signal.raise_signal(signal.SIGUSR1)
        else:
            loop.stop()

    previous = signal.getsignal(signal.SIGUSR1)
    loop.on_signals([signal.SIGUSR1], receive)
    signal.raise_signal(signal.SIGUSR1)
    loop.run()
    signal.signal(signal.SIGUSR1, previous)
    assert received == ["signal", "signal"]


def test_deadlines_are_replaced_and_taken_away(loop: EventLoop) -> None:
    due: list[str] = []

    def on_due(key: str) -> None:
        due.append(key)
        if key == "last":
            loop.stop()

    deadlines = Deadlines(loop, on_due)
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    deadlines.set("postponed", now + 0.01)
    deadlines.set("postponed", now + 3600)
    deadlines.set("withdrawn", now + 0.01)
    deadlines.set("withdrawn", None)
    deadlines.set("brought forward", now + 3600)
    deadlines.set("brought forward", now - 3600)
    deadlines.set("last", now + 0.05)
    loop.run()
    assert due == ["brought forward", "last"]
