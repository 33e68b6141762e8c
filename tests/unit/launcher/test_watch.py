"""Who does not answer hangs; who answers late, or starts slowly, does not."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from agent_manager.launcher.event_loop import EventLoop, Timer
from agent_manager.launcher.watch import Watch


class _Loop(EventLoop):
    """Time passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(self.now + delay_s, callback)
        heapq.heappush(self._due, (timer.due_at, next(self._numbers), timer))
        return timer

    def pass_(self, seconds: float, *, asleep: bool = False) -> None:
        """Each timer at its moment; `asleep`: all of them at the end, as after a machine that stood still."""
        end = self.now + seconds
        if asleep:
            self.now = end
        while self._due and self._due[0][0] <= end:
            due_at, _, timer = heapq.heappop(self._due)
            self.now = max(self.now, due_at)
            timer.fire()
        self.now = end


@dataclass
class _Watched:
    loop: _Loop = field(default_factory=_Loop)
    pings: int = 0
    answers: bool = True
    hung: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.watch = Watch(
            self.loop,
            ping=self._ping,
            on_hang=lambda silent_s: self.hung.append((self.loop.now, silent_s)),
            interval_s=10.0,
            start_timeout_s=120.0,
            hang_timeout_s=30.0,
        )

    def _ping(self) -> None:
        self.pings += 1
        if self.answers:
            self.watch.pong()


@pytest.fixture
def watched() -> _Watched:
    return _Watched()


def test_who_answers_is_asked_at_every_interval(watched: _Watched) -> None:
    watched.loop.pass_(100.0)
    assert (watched.pings, watched.hung) == (11, [])


def test_who_stops_to_answer_hangs_once(watched: _Watched) -> None:
    watched.loop.pass_(100.0)
    watched.answers = False
    watched.loop.pass_(1000.0)
    assert watched.hung == [(140.0, 30.0)]
    assert watched.pings == 14


def test_who_has_never_answered_has_the_time_to_start(watched: _Watched) -> None:
    watched.answers = False
    watched.loop.pass_(119.0)
    assert watched.hung == []
    watched.loop.pass_(1.0)
    assert watched.hung == [(120.0, 120.0)]


def test_a_late_answer_is_one(watched: _Watched) -> None:
    watched.loop.pass_(5.0)
    watched.answers = False
    for _ in range(10):
        watched.loop.pass_(29.0)
        watched.watch.pong()
    assert watched.hung == []


def test_a_machine_that_stood_still_is_no_process_that_hangs(watched: _Watched) -> None:
    watched.loop.pass_(5.0)
    watched.answers = False
    watched.loop.pass_(3600.0, asleep=True)
    assert watched.hung == []
    watched.answers = True
    watched.loop.pass_(3600.0)
    assert watched.hung == []


def test_who_is_to_end_is_asked_at_once_and_given_less_time(watched: _Watched) -> None:
    watched.loop.pass_(5.0)
    watched.answers = False
    watched.watch.hasten(interval_s=1.0, hang_timeout_s=3.0)
    watched.loop.pass_(1000.0)
    assert watched.hung == [(8.0, 3.0)]


def test_who_is_still_starting_when_it_is_to_end_has_the_time_to_start(watched: _Watched) -> None:
    watched.answers = False
    watched.loop.pass_(5.0)
    watched.watch.hasten(interval_s=1.0, hang_timeout_s=3.0)
    watched.loop.pass_(60.0)
    assert watched.hung == []


def test_nobody_is_asked_after_the_end(watched: _Watched) -> None:
    watched.loop.pass_(5.0)
    watched.answers = False
    watched.watch.end()
    watched.loop.pass_(1000.0)
    assert (watched.pings, watched.hung) == (1, [])
