"""How much of what a speaker says is listened to."""

from __future__ import annotations

from agent_manager.transport import admission
from agent_manager.transport.admission import Admission
from tests.harness.fakes import FakeClock


def admission_of(clock: FakeClock, *, rate: float = 2.0, burst: int = 3) -> Admission:
    return Admission(rate=rate, burst=burst, now=lambda: clock.mono)


def test_so_many_at_once_then_so_many_a_second() -> None:
    clock = FakeClock()
    heard = admission_of(clock)
    assert [heard.admits("a") for _ in range(5)] == [True, True, True, False, False]
    clock.advance(0.5)
    assert [heard.admits("a") for _ in range(2)] == [True, False]
    clock.advance(3_600.0)
    assert [heard.admits("a") for _ in range(4)] == [True, True, True, False]


def test_what_is_refused_costs_the_speaker_nothing() -> None:
    clock = FakeClock()
    heard = admission_of(clock, rate=1.0, burst=1)
    admitted = 0
    for _ in range(1_000):
        admitted += heard.admits("a")
        clock.advance(0.01)
    assert 10 <= admitted <= 11


def test_speakers_are_counted_apart_and_the_quietest_is_forgotten() -> None:
    clock = FakeClock()
    heard = admission_of(clock, rate=0.0, burst=1)
    assert heard.admits("a")
    assert heard.admits("b")
    assert not heard.admits("a")
    for number in range(admission.SPEAKERS - 1):
        assert heard.admits(f"other-{number}")
    assert not heard.admits("a")
    assert heard.admits("b")
