"""Requests as bytes: whatever comes, an error that says what is wrong."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_manager.domain.errors import AgentManagerError, InvalidRequestError, StaleRequestError, TooLargeError
from agent_manager.protocol import operations
from agent_manager.protocol.messages import Envelope, MetricsReport, Request, Response, StatusReport
from agent_manager.protocol.operations import OPERATIONS, Operation
from agent_manager.transport import requests
from agent_manager.transport.requests import Heading

NOW = datetime(2030, 1, 1, tzinfo=UTC)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
    max_leaves=12,
)
MOMENTS = st.datetimes().map(datetime.isoformat) | st.datetimes(timezones=st.timezones()).map(datetime.isoformat)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "id": JSON,
        "agent_id": JSON | st.just("echo"),
        "command": JSON | st.sampled_from(["start", "agents.list", "packages.list"]),
        "params": JSON
        | st.dictionaries(st.sampled_from(["wait_s", "page_size", "page_token", "tail", "instance_id"]), JSON),
        "timestamp": JSON | MOMENTS,
        "deadline": JSON | MOMENTS,
    },
)
BODIES = st.binary(max_size=200) | JSON.map(json.dumps).map(str.encode) | FIELDS.map(json.dumps).map(str.encode)


@given(body=BODIES, operation=st.sampled_from(OPERATIONS))
def test_whatever_is_sent_is_a_call_or_an_error_for_the_caller(body: bytes, operation: Operation) -> None:
    with contextlib.suppress(AgentManagerError):
        requests.call_of(operation, requests.decode(Request, body), None, NOW)
    try:
        envelope = requests.decode(Envelope, body)
        requests.call_of(requests.operation_of(envelope, queries_only=False), envelope, None, NOW)
    except AgentManagerError as error:
        answer = requests.failure("unknown", requests.heading_of(body), error)
        assert Response.model_validate_json(answer.model_dump_json().encode()).error == answer.error


@given(body=BODIES)
def test_whatever_a_launch_reports_is_a_report_or_an_error(body: bytes) -> None:
    for model in (StatusReport, MetricsReport):
        with contextlib.suppress(AgentManagerError):
            requests.decode(model, body)


@pytest.mark.parametrize("body", [b"", b"  ", b"{}", b'{"unknown": 1}'])
def test_nothing_at_all_is_a_request_with_nothing_in_it(body: bytes) -> None:
    assert requests.decode(Request, body) == Request()


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"{", ["body"]),
        (b"[]", ["body"]),
        (b"\xff", ["body"]),
        (b'{"command": "start", "params": {}}', ["timestamp"]),
        (b'{"command": 7, "params": [], "timestamp": "x"}', ["params", "timestamp", "command"]),
        (b'{"command": "start", "params": {}, "timestamp": "2030-01-01T00:00:00"}', ["timestamp"]),
    ],
)
def test_every_wrong_field_is_named(body: bytes, fields: list[str]) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        requests.decode(Envelope, body)
    assert [fault["field"] for fault in refused.value.detail["errors"]] == fields
    assert all(name in refused.value.message for name in fields)


def test_what_is_too_large_is_not_even_read() -> None:
    with pytest.raises(TooLargeError, match="1,000,001 bytes"):
        requests.decode(Request, b"{" * (requests.MAX_REQUEST_BYTES + 1))


def test_faults_without_number_are_counted_and_not_named() -> None:
    counters = {str(number): "many" for number in range(1_000)}
    with pytest.raises(InvalidRequestError, match="1,000 values are wrong") as refused:
        requests.decode(MetricsReport, json.dumps({"counters": counters, "timestamp": NOW.isoformat()}).encode())
    assert refused.value.detail == {}


def test_an_operation_that_addresses_an_agent_needs_one() -> None:
    with pytest.raises(InvalidRequestError, match=r"agent_id: missing; agents.start addresses an agent"):
        requests.call_of(operations.AGENTS_START, Request(), None, NOW)
    with pytest.raises(InvalidRequestError, match="'No Such'"):
        requests.call_of(operations.AGENTS_START, Request(agent_id="No Such"), None, NOW)


@pytest.mark.parametrize("wait_s", [-1, 301, "soon", float("inf"), float("nan"), None])
def test_parameters_are_checked_against_their_operation(wait_s: object) -> None:
    request = Request(agent_id="echo", params={"wait_s": wait_s})
    with pytest.raises(InvalidRequestError) as refused:
        requests.call_of(operations.AGENTS_START, request, None, NOW)
    assert refused.value.detail["errors"][0]["field"] == "wait_s"


def test_a_request_whose_sender_has_given_up_is_refused() -> None:
    stale = Request(deadline=NOW - timedelta(microseconds=1))
    with pytest.raises(StaleRequestError, match="has passed"):
        requests.call_of(operations.AGENTS_LIST, stale, None, NOW)
    assert requests.call_of(operations.AGENTS_LIST, Request(deadline=NOW), None, NOW).agent_id == ""


def test_a_call_carries_what_was_asked_and_who_asked() -> None:
    request = Request(agent_id="echo", params={"wait_s": 2})
    call = requests.call_of(operations.AGENTS_START, request, "ada", NOW)
    assert (call.agent_id, call.params, call.actor) == ("echo", operations.ChangeParams(wait_s=2.0), "ada")


def envelope(command: str) -> Envelope:
    return Envelope(command=command, params={}, timestamp=NOW)


@pytest.mark.parametrize(("command", "name"), [("start", "agents.start"), ("packages.list", "packages.list")])
def test_an_envelope_names_an_operation_in_full_or_by_the_verb_of_an_agent(command: str, name: str) -> None:
    assert requests.operation_of(envelope(command), queries_only=False).name == name


def test_an_unknown_command_is_answered_with_those_there_are() -> None:
    with pytest.raises(InvalidRequestError, match=r"'explode' is unknown; known are agents.list") as refused:
        requests.operation_of(envelope("explode"), queries_only=False)
    assert refused.value.detail["known"] == [operation.name for operation in OPERATIONS]


def test_a_query_subject_takes_no_command() -> None:
    with pytest.raises(InvalidRequestError, match=r"changes state; send it to agent.manager.command"):
        requests.operation_of(envelope("stop"), queries_only=True)
    assert requests.operation_of(envelope("status"), queries_only=True) is operations.AGENTS_STATUS


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_counter_that_is_no_number_is_refused(number: str) -> None:
    body = f'{{"counters": {{"done": {number}}}, "timestamp": "2030-01-01T00:00:00Z"}}'
    with pytest.raises(InvalidRequestError, match=r"counters\.done"):
        requests.decode(MetricsReport, body.encode())


@pytest.mark.parametrize(
    ("body", "heading"),
    [
        (b'{"id": "a", "agent_id": "echo", "command": "start"}', Heading(id="a", agent_id="echo", command="start")),
        (b'{"id": 7, "agent_id": null, "command": ["start"], "params": "x"}', Heading()),
        (b'{"id": "' + b"x" * 1_000 + b'"}', Heading(id="x" * 128)),
        (b"[]", Heading()),
        (b'{"id": "a"', Heading()),
        (b"[" * 100_000, Heading()),
        (b'{"id": "a", "params": "' + b"x" * requests.MAX_REQUEST_BYTES + b'"}', Heading()),
    ],
)
def test_a_refusal_repeats_what_could_be_read_of_its_request(body: bytes, heading: Heading) -> None:
    assert requests.heading_of(body) == heading
