from __future__ import annotations

from nats.micro.service import EndpointStats

from agent_manager.protocol.errors import ErrorBody
from agent_manager.transport.statistics import Tally


def shown(tally: Tally) -> EndpointStats:
    stats = EndpointStats(
        name="n",
        subject="s",
        queue_group="q",
        num_requests=5,
        num_errors=0,
        processing_time=1,
        average_processing_time=1,
    )
    tally.fill(stats)
    return stats


def test_before_the_first_answer_everything_is_nought() -> None:
    stats = shown(Tally())
    assert (stats.num_errors, stats.processing_time, stats.average_processing_time, stats.last_error) == (0, 0, 0, None)


def test_time_and_errors_are_those_of_the_answers() -> None:
    tally = Tally()
    tally.count(None, 10)
    tally.count(ErrorBody(code="not_found", message="agent x not found"), 30)
    stats = shown(tally)
    assert (stats.num_requests, stats.num_errors) == (5, 1)
    assert (stats.processing_time, stats.average_processing_time) == (40, 20)
    assert stats.last_error == "not_found:agent x not found"
