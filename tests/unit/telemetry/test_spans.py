"""Spans: recorded below the trace a request came with, and only where OpenTelemetry is switched on."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agent_manager.protocol import tracing
from agent_manager.telemetry import spans
from agent_manager.telemetry.opentelemetry_spans import RecordedSpans
from agent_manager.telemetry.spans import NoSpans

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

LOADED = """
import importlib, sys
from agent_manager.telemetry import spans
program, unwanted = sys.argv[1:]
importlib.import_module(program)
spans.of_environment({}, service="s", version="1").close()
print([name for name in sys.modules if name.startswith(unwanted)])
"""


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def recorded(exporter: InMemorySpanExporter) -> RecordedSpans:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return RecordedSpans(provider)


def test_spans_hang_below_each_other_and_below_the_callers(
    recorded: RecordedSpans, exporter: InMemorySpanExporter
) -> None:
    with (
        tracing.bound(tracing.received({"traceparent": PARENT, "x-request-id": "r"})),
        recorded.span("outer", {"agent_id": "echo"}, server=True),
        recorded.span("inner", {}),
    ):
        onward = tracing.carried()
    inner, outer = exporter.get_finished_spans()
    assert (inner.name, outer.name) == ("inner", "outer")
    assert inner.context is not None
    assert outer.context is not None
    assert inner.parent is not None
    assert outer.parent is not None
    assert f"{outer.context.trace_id:032x}" == PARENT.split("-")[1]
    assert f"{outer.parent.span_id:016x}" == PARENT.split("-")[2]
    assert inner.parent.span_id == outer.context.span_id
    assert dict(outer.attributes or {}) == {"agent_id": "echo"}
    assert onward["traceparent"].split("-")[1:3] == [
        f"{inner.context.trace_id:032x}",
        f"{inner.context.span_id:016x}",
    ], "whoever is asked next hangs below the innermost span"
    assert onward["X-Request-Id"] == "r"


def test_a_caller_that_does_not_record_is_followed(recorded: RecordedSpans, exporter: InMemorySpanExporter) -> None:
    with (
        tracing.bound(tracing.received({"traceparent": PARENT.removesuffix("01") + "00"})),
        recorded.span("unrecorded", {}),
    ):
        assert tracing.carried()["traceparent"].endswith("-00")
    assert exporter.get_finished_spans() == ()


def test_what_is_raised_inside_goes_on_and_marks_the_span(
    recorded: RecordedSpans, exporter: InMemorySpanExporter
) -> None:
    with pytest.raises(ValueError, match="wrong"), recorded.span("failing", {}):
        raise ValueError("wrong")
    (span,) = exporter.get_finished_spans()
    assert not span.status.is_ok


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "mine"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "otlp"}, False),
    ],
)
def test_the_variables_of_the_specification_switch_it_on(environment: dict[str, str], wanted: bool) -> None:
    assert spans.wanted(environment) is wanted


@pytest.mark.parametrize(
    ("program", "unwanted"),
    [
        ("agent_manager.daemon", "opentelemetry"),
        ("agent_manager.sdk", "opentelemetry"),
        # FastAPI loads the interfaces by itself.
        ("management_api.__main__", "opentelemetry.sdk"),
        ("management_api.__main__", "opentelemetry.exporter"),
    ],
)
def test_where_it_is_off_nothing_of_it_is_loaded(program: str, unwanted: str) -> None:
    done = subprocess.run([sys.executable, "-c", LOADED, program, unwanted], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_where_it_is_not_installed_that_is_said_and_the_program_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(spans, "RECORDER_MODULE", "not_installed_anywhere")
    with caplog.at_level(logging.ERROR):
        made = spans.of_environment({"OTEL_TRACES_EXPORTER": "otlp"}, service="s", version="1")
    assert isinstance(made, NoSpans)
    assert [record.message for record in caplog.records] == ["opentelemetry_missing"]


@pytest.mark.parametrize("environment", [{"OTEL_TRACES_EXPORTER": "zipkin"}, {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}])
def test_an_exporter_there_is_not_is_said_and_the_program_goes_on(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    given = {"OTEL_TRACES_EXPORTER": "otlp", **environment}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with caplog.at_level(logging.ERROR):
        made = spans.of_environment(given, service="s", version="1")
    assert isinstance(made, NoSpans)
    assert [record.message for record in caplog.records] == ["opentelemetry_misconfigured"]
