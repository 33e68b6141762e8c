"""Spans: how long a piece of work took and what it belonged to. Recorded only where OpenTelemetry is switched on.

It is switched on by the variables of its own specification, and only then imported.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, cast

RECORDER_MODULE = "agent_manager.telemetry.opentelemetry_spans"
EXTRA = "agent-manager[otel]"

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

log = logging.getLogger(__name__)


class Spans(Protocol):
    """Records spans below whatever is being worked for (`protocol.tracing`)."""

    def span(self, name: str, attributes: Mapping[str, str], *, server: bool = False) -> AbstractContextManager[object]:
        """A span around what is done inside; what is raised there marks it as failed.

        `server` says that it answers somebody else's request. Inside, the present trace is that of the span.
        """
        ...

    def close(self) -> None:
        """Hand over what is recorded, within bounds, and record no more. Blocks."""
        ...


class NoSpans:
    """Records nothing."""

    def span(self, name: str, attributes: Mapping[str, str], *, server: bool = False) -> AbstractContextManager[object]:
        """See `Spans`."""
        return nullcontext()

    def close(self) -> None:
        """See `Spans`."""


class _RecorderModule(Protocol):
    def recorder(self, service: str, version: str) -> Spans: ...


def wanted(environment: Mapping[str, str]) -> bool:
    """Whether the variables of OpenTelemetry's specification ask for spans.

    They do with `OTEL_TRACES_EXPORTER` other than `none`, or an endpoint without it; `OTEL_SDK_DISABLED=true` refuses.
    """
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if exporter:
        return exporter != "none"
    return any(environment.get(name, "").strip() for name in _ENDPOINTS)


def of_environment(environment: Mapping[str, str], *, service: str, version: str) -> Spans:
    """What records the spans of this program, as the environment wants it. Starts a thread where it records."""
    if not wanted(environment):
        return NoSpans()
    try:
        # Not at the top: where it is off, nothing of OpenTelemetry is to be loaded, or even installed.
        module = cast(_RecorderModule, importlib.import_module(RECORDER_MODULE))
        return module.recorder(service, version)
    except ImportError as error:
        log.error("opentelemetry_missing", extra={"error": str(error), "install": EXTRA})
    except ValueError as error:
        log.error("opentelemetry_misconfigured", extra={"error": str(error)})
    return NoSpans()
