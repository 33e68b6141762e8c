from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from agent_manager.services import eyesight as eyesight_module
from agent_manager.services.eyesight import PULSE_TOLERANCE_S, SETTLE_S, Eyesight
from tests.harness.fakes import FakeClock
from tests.harness.waiting import eventually


def opened() -> tuple[Eyesight, FakeClock, list[float | None]]:
    clock = FakeClock(mono=100.0)
    eyesight = Eyesight(clock)
    seen: list[float | None] = []
    eyesight.on_change(lambda: seen.append(eyesight.since))
    eyesight.opened()
    return eyesight, clock, seen


def test_nothing_is_seen_before_the_bus_is_there() -> None:
    assert Eyesight(FakeClock()).since is None


def test_agents_are_given_time_to_come_back_before_their_silence_counts() -> None:
    eyesight, _, seen = opened()
    assert eyesight.since == 100.0 + SETTLE_S
    assert seen == [eyesight.since]


def test_while_the_bus_is_away_nothing_is_seen() -> None:
    eyesight, clock, seen = opened()
    eyesight.closed()
    clock.advance(60.0)
    eyesight.opened()
    assert seen == [100.0 + SETTLE_S, None, 160.0 + SETTLE_S]


def test_a_regular_pulse_changes_nothing() -> None:
    eyesight, clock, seen = opened()
    for _ in range(100):
        clock.advance(PULSE_TOLERANCE_S)
        eyesight.check_pulse()
    assert len(seen) == 1


def test_after_a_gap_in_the_pulse_silence_is_measured_anew_once() -> None:
    eyesight, clock, seen = opened()
    clock.advance(PULSE_TOLERANCE_S + 0.1)
    eyesight.check_pulse()
    eyesight.check_pulse()
    assert seen == [100.0 + SETTLE_S, clock.mono + SETTLE_S]


def test_a_gap_in_the_pulse_does_not_bring_the_bus_back() -> None:
    eyesight, clock, _ = opened()
    eyesight.closed()
    clock.advance(60.0)
    eyesight.check_pulse()
    assert eyesight.since is None


def test_a_bus_that_does_not_answer_is_as_good_as_away() -> None:
    eyesight, clock, seen = opened()
    eyesight.looked(answered=True)
    eyesight.looked(answered=False)
    eyesight.looked(answered=False)
    clock.advance(9.0)
    eyesight.looked(answered=True)
    eyesight.looked(answered=True)
    assert seen == [100.0 + SETTLE_S, None, clock.mono + SETTLE_S]


def test_an_answer_that_comes_after_the_connection_was_lost_proves_nothing() -> None:
    eyesight, _, _ = opened()
    eyesight.closed()
    eyesight.looked(answered=True)
    assert eyesight.since is None


async def test_heartbeats_that_wait_unread_are_no_silence(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(eyesight_module, "PULSE_S", 0.0)
    eyesight, _, seen = opened()
    is_behind = True

    async def answers(_: float) -> bool:
        return True

    running = asyncio.create_task(eyesight.run(answers, lambda: is_behind))
    await eventually(lambda: seen[-1] is None)
    assert [record.message for record in caplog.records] == ["heartbeats_unread"]
    is_behind = False
    await eventually(lambda: seen[-1] is not None)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_the_server_is_asked_only_where_no_heartbeat_has_proved_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(eyesight_module, "PULSE_S", 0.0)
    eyesight, _, _ = opened()
    pulses = 0
    asked_at: list[int] = []

    def looked(*, answered: bool, behind: bool) -> None:
        nonlocal pulses
        pulses += 1
        if pulses < 10:
            eyesight.heard()

    async def round_trip(_: float) -> bool:
        asked_at.append(pulses)
        return True

    monkeypatch.setattr(eyesight, "looked", looked)
    eyesight.heard()
    running = asyncio.create_task(eyesight.run(round_trip))
    await eventually(lambda: len(asked_at) >= 3)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert asked_at[:3] == [10, 11, 12]
