"""Answers as bytes: always JSON, bounded in size."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from agent_manager.protocol.messages import Response
from agent_manager.sdk.answers import Answer, encode
from agent_manager.sdk.errors import CommandError, describe
from agent_manager.sdk.requests import Heading

HEADING = Heading(id="1", command="read")
LARGE = 1_000_000


def sent(answer: Answer, max_payload: int = LARGE) -> Response:
    return Response.model_validate_json(encode(answer, max_payload=max_payload)[1])


def result_of(result: Any, max_payload: int = LARGE) -> Response:
    return sent(Answer(agent_id="a", heading=HEADING, result=result), max_payload)


def cyclic() -> list[Any]:
    items: list[Any] = []
    items.append(items)
    return items


@pytest.mark.parametrize("result", [None, 0, "", [], {"a": [1, 2.5, "ü", None, True]}])
def test_a_result_is_answered_as_it_is(result: Any) -> None:
    response = result_of(result)
    assert (response.status, response.result, response.error) == ("success", result, None)
    assert (response.id, response.command, response.agent_id) == ("1", "read", "a")


def test_a_success_carries_a_result_even_when_there_is_none_and_no_error() -> None:
    document = json.loads(encode(Answer(agent_id="a", heading=Heading(command="read")), max_payload=LARGE)[1])
    assert document.keys() == {"status", "command", "agent_id", "result", "timestamp"}


@pytest.mark.parametrize(
    "result",
    [object(), {1, 2}, b"bytes", float("nan"), float("inf"), "\ud800", datetime.now(UTC), {(1, 2): 3}, cyclic()],
    ids=["object", "set", "bytes", "nan", "inf", "surrogate", "date", "tuple as key", "cyclic"],
)
def test_what_json_cannot_hold_is_an_internal_error(result: Any) -> None:
    response = result_of(result)
    assert response.error is not None
    assert response.error.code == "internal"
    assert "'read'" in response.error.message
    assert "not JSON" in response.error.message


def test_a_result_nested_too_deeply_is_an_internal_error() -> None:
    result: list[Any] = []
    for _ in range(100_000):
        result = [result]
    response = result_of(result)
    assert response.error is not None
    assert response.error.code == "internal"


def test_an_answer_may_take_half_of_what_the_server_carries() -> None:
    assert result_of("x" * 400, max_payload=2_000).status == "success"
    response = result_of("x" * 1_000, max_payload=2_000)
    assert response.error is not None
    assert response.error.code == "too_large"
    assert "1,000" in response.error.message


def test_an_error_whose_detail_is_not_json_is_an_error_still() -> None:
    error = CommandError("no", detail={"cause": object()})
    response = sent(Answer(agent_id="a", heading=HEADING, error=error))
    assert response.error is not None
    assert response.error.code == "internal"


def test_the_message_of_an_error_is_bounded_in_body_and_header() -> None:
    answer = Answer(agent_id="a", heading=HEADING, error=CommandError("x" * 100_000))
    response = sent(answer)
    assert response.error is not None
    assert len(response.error.message) == 500
    assert len("".join(answer.headers.values())) < 300


def test_the_header_of_an_error_is_one_printable_line() -> None:
    answer = Answer(agent_id="a", heading=HEADING, error=CommandError("no\x1b[2J\0 such\r\nthing"))
    assert answer.headers["Nats-Service-Error"] == "no [2J  such thing"


def test_an_exception_that_cannot_even_be_shown_is_described_by_its_class() -> None:
    class SpeechlessError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert describe(SpeechlessError()) == "SpeechlessError"
    assert describe(ValueError("x" * 10_000)).startswith("ValueError: xxx")
    assert len(describe(ValueError("x" * 10_000))) == 500
