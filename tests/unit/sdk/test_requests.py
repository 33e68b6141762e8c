"""Reading requests: every sequence of bytes is an envelope or a refusal."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_manager.protocol.messages import Envelope
from agent_manager.sdk.errors import CommandError
from agent_manager.sdk.requests import Heading, heading_of, parse, validated

NOW = "2030-01-01T00:00:00Z"
MINIMUM = {"command": "echo", "params": {}, "timestamp": NOW}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)
fields = st.sampled_from(["id", "command", "agent_id", "params", "timestamp", "deadline", "other"])


def understood(data: bytes) -> Envelope:
    return validated(parse(data))


def refusal_of(data: bytes) -> CommandError | None:
    try:
        understood(data)
    except CommandError as error:
        return error
    return None


def encoded(**changes: Any) -> bytes:
    return json.dumps({**MINIMUM, **changes}).encode()


@given(st.binary())
def test_any_bytes_are_understood_or_refused(data: bytes) -> None:
    refusal = refusal_of(data)
    assert refusal is None or refusal.code == "invalid_request"


@given(st.dictionaries(fields, json_values))
def test_any_object_is_understood_or_refused_with_a_field(document: dict[str, Any]) -> None:
    heading_of(document)
    refusal = refusal_of(json.dumps(document).encode())
    assert refusal is None or refusal.code == "stale" or refusal.detail["field"]


@given(params=st.dictionaries(st.text(), json_values), request_id=st.none() | st.text(max_size=128))
def test_params_and_id_arrive_unchanged(params: dict[str, Any], request_id: str | None) -> None:
    envelope = understood(encoded(params=params, id=request_id))
    assert (envelope.params, envelope.id) == (params, request_id)


def test_the_bare_minimum_is_enough_and_unknown_fields_are_ignored() -> None:
    envelope = understood(encoded(priority=5))
    assert (envelope.command, envelope.params, envelope.deadline) == ("echo", {}, None)


@pytest.mark.parametrize("field", ["command", "params", "timestamp"])
def test_a_missing_field_is_named(field: str) -> None:
    with pytest.raises(CommandError) as refused:
        validated({name: value for name, value in MINIMUM.items() if name != field})
    assert repr(field) in refused.value.message
    assert refused.value.detail == {"field": field}


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_is_not_json_is_refused(number: str) -> None:
    with pytest.raises(CommandError, match="not JSON"):
        parse(b'{"params": {"x": %b}}' % number.encode())


def test_nesting_without_end_is_refused() -> None:
    with pytest.raises(CommandError, match="not JSON"):
        parse(b"[" * 100_000)


@pytest.mark.parametrize(("seconds", "stale"), [(-1, True), (60, False)])
def test_a_request_is_stale_once_its_deadline_has_passed(seconds: int, stale: bool) -> None:
    data = encoded(deadline=(datetime.now(UTC) + timedelta(seconds=seconds)).isoformat())
    if stale:
        with pytest.raises(CommandError) as refused:
            understood(data)
        assert refused.value.code == "stale"
    else:
        assert understood(data).deadline is not None


def test_the_heading_of_a_wrong_request_is_what_can_be_read_of_it() -> None:
    assert heading_of({"id": "1", "command": "echo"}) == Heading(id="1", command="echo")
    assert heading_of({"id": 1, "command": ["echo"]}) == Heading()
    assert heading_of({"id": "x" * 1_000}) == Heading(id="x" * 128)
