from __future__ import annotations

from agent_manager.protocol.errors import ErrorBody
from agent_manager.transport.statistics import Tally


def test_before_the_first_answer_everything_is_nought() -> None:
    stats = Tally(name="n", subject="s", received=1).stats
    assert (stats.num_errors, stats.processing_time, stats.average_processing_time, stats.last_error) == (0, 0, 0, None)


def test_time_and_errors_are_those_of_the_answers() -> None:
    tally = Tally(name="n", subject="s", received=5)
    tally.count(None, 10)
    tally.count(ErrorBody(code="not_found", message="agent x not found"), 30)
    stats = tally.stats
    assert (stats.num_requests, stats.num_errors) == (5, 1)
    assert (stats.processing_time, stats.average_processing_time) == (40, 20)
    assert stats.last_error == "not_found:agent x not found"
