"""Spans recorded with OpenTelemetry and exported over OTLP/HTTP. Imported only where they are wanted (`spans`)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from opentelemetry import trace as api
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter

from agent_manager.protocol import tracing
from agent_manager.protocol.tracing import Trace

HANDOVER_MS = 2_000
"""How long the last spans may take to be handed over when the program ends."""


class RecordedSpans:
    """Implements `telemetry.spans.Spans` on a provider of its own, so that nothing global is set."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("agent_manager")

    @contextmanager
    def span(self, name: str, attributes: Mapping[str, str], *, server: bool = False) -> Iterator[object]:
        """See `Spans`."""
        kind = api.SpanKind.SERVER if server else api.SpanKind.INTERNAL
        above = tracing.current()
        parent = api.set_span_in_context(api.NonRecordingSpan(_context_of(above))) if above is not None else None
        with self._tracer.start_as_current_span(name, parent, kind, dict(attributes)) as span:
            here = span.get_span_context()
            if above is None:
                yield span
                return
            flags = f"{int(here.trace_flags):02x}"
            with tracing.bound(
                replace(above, trace_id=f"{here.trace_id:032x}", span_id=f"{here.span_id:016x}", flags=flags)
            ):
                yield span

    def close(self) -> None:
        """See `Spans`."""
        self._provider.force_flush(HANDOVER_MS)
        self._provider.shutdown()


def recorder(service: str, version: str) -> RecordedSpans:
    """Spans exported as OTEL_TRACES_EXPORTER says (`otlp`, the default, or `console`).

    Endpoint, headers, sampler, limits and resource attributes are read from their variables by OpenTelemetry itself.
    Raises ValueError for an exporter or protocol that is not there.
    """
    defaults = Resource.create({"service.name": service, "service.version": version})
    provider = TracerProvider(resource=defaults.merge(OTELResourceDetector().detect()))
    provider.add_span_processor(BatchSpanProcessor(_exporter()))
    return RecordedSpans(provider)


def _exporter() -> SpanExporter:
    name = os.environ.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() or "otlp"
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf").strip().lower() or "http/protobuf"
    if name == "console":
        return ConsoleSpanExporter()
    if name != "otlp":
        raise ValueError(f"OTEL_TRACES_EXPORTER is {name!r}; otlp, console and none are possible")
    if protocol != "http/protobuf":
        raise ValueError(f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}; only http/protobuf is possible")
    return OTLPSpanExporter()


def _context_of(trace: Trace) -> api.SpanContext:
    return api.SpanContext(
        trace_id=int(trace.trace_id, 16),
        span_id=int(trace.span_id, 16),
        is_remote=True,
        trace_flags=api.TraceFlags(int(trace.flags, 16)),
        trace_state=api.TraceState.from_header([trace.state]) if trace.state else None,
    )
