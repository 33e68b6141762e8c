"""Traces: what callers send is believed where it is well formed, made where it is not, and never an error."""

from __future__ import annotations

import asyncio
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_manager.protocol import tracing

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN_ID = "00f067aa0ba902b7"
PARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"


def test_a_well_formed_traceparent_is_taken_over_and_passed_on() -> None:
    with tracing.bound(tracing.received({"traceparent": PARENT, "tracestate": "a=1,b=2"})):
        assert tracing.carried()["traceparent"] == PARENT
        assert tracing.carried()["tracestate"] == "a=1,b=2"
        assert tracing.log_fields()["trace_id"] == TRACE_ID


@pytest.mark.parametrize("name", ["Traceparent", "TRACEPARENT", "traceparent"])
def test_names_of_headers_count_in_any_case(name: str) -> None:
    assert tracing.received({name: PARENT}).trace_id == TRACE_ID


def test_a_later_version_may_say_more() -> None:
    assert tracing.received({"traceparent": f"cc-{TRACE_ID}-{SPAN_ID}-01-what-is-new"}).trace_id == TRACE_ID


@pytest.mark.parametrize(
    "malformed",
    [
        "",
        "00",
        PARENT.upper(),
        PARENT + "-more",
        f"ff-{TRACE_ID}-{SPAN_ID}-01",
        f"00-{'0' * 32}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"00-{TRACE_ID[1:]}-{SPAN_ID}-01",
        f"cc-{TRACE_ID}-{SPAN_ID}-01more",
        "é" * 55,
    ],
)
def test_a_malformed_traceparent_is_replaced(malformed: str) -> None:
    trace = tracing.received({"traceparent": malformed, "tracestate": "a=1"})
    assert re.fullmatch("[0-9a-f]{32}", trace.trace_id)
    assert trace.trace_id not in (TRACE_ID, "0" * 32)
    assert trace.state == "", "the state belongs to the trace that was refused"


@given(header=st.text(max_size=80), request_id=st.text(max_size=200))
def test_whatever_is_sent_what_is_carried_on_is_well_formed(header: str, request_id: str) -> None:
    trace = tracing.received({"traceparent": header, "x-request-id": request_id})
    assert re.fullmatch("[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", trace.traceparent)
    assert re.fullmatch(r"[A-Za-z0-9._~:/+=@-]{1,128}", trace.request_id)


@pytest.mark.parametrize("request_id", ["abc-1", "A" * 128, "urn:x/y+z=@~._"])
def test_a_request_id_of_the_caller_is_kept(request_id: str) -> None:
    assert tracing.received({"X-Request-Id": request_id}).request_id == request_id


@pytest.mark.parametrize("request_id", ["", "A" * 129, "two words", "line\nbreak", 'quo"te', "é"])
def test_one_that_could_garble_a_log_is_replaced(request_id: str) -> None:
    assert tracing.received({"X-Request-Id": request_id}).request_id != request_id


def test_two_requests_without_a_trace_have_one_each() -> None:
    first, second = tracing.received(None), tracing.received({})
    assert first.trace_id != second.trace_id
    assert first.request_id != second.request_id


def test_outside_of_a_request_nothing_is_carried_or_logged() -> None:
    with tracing.bound(tracing.received(None)):
        pass
    assert tracing.current() is None
    assert tracing.carried() == {}
    assert tracing.log_fields() == {}


def test_a_request_that_is_named_in_its_body_goes_by_that_name() -> None:
    with tracing.bound(tracing.received(None)) as trace:
        tracing.rename("order-66")
        tracing.rename("not\none")
        assert tracing.log_fields() == {"request_id": "order-66", "trace_id": trace.trace_id}
    assert tracing.current() is None


async def test_tasks_inherit_the_trace_of_who_starts_them_and_do_not_share_it_with_others() -> None:
    async def seen() -> dict[str, str]:
        await asyncio.sleep(0)
        return tracing.log_fields()

    async def with_trace(name: str) -> dict[str, str]:
        with tracing.bound(tracing.received({"x-request-id": name})):
            return await asyncio.create_task(seen())

    first, second = await asyncio.gather(with_trace("one"), with_trace("two"))
    assert (first["request_id"], second["request_id"]) == ("one", "two")
