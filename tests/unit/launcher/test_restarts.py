"""Restart delays."""

from agent_manager.launcher.restarts import Backoff


def test_the_first_restart_is_at_once_and_the_others_ever_later() -> None:
    backoff = Backoff()
    delays = [backoff.delay_s(lived_s=0.5) for _ in range(9)]
    assert delays == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_ten_seconds_of_life_reset_the_delay() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.delay_s(lived_s=9.9)
    assert [backoff.delay_s(lived_s=10.0), backoff.delay_s(lived_s=0.0)] == [0.0, 0.1]
