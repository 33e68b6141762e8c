"""Log lines on standard error, ours and those of libraries: a stable `event` name, ids as fields.

A line that belongs to a request carries its `request_id` and `trace_id`. What a library says is its `message`; its
event is `library_message`.
"""

from __future__ import annotations

import logging
import sys
from typing import Literal

from agent_manager.protocol import tracing
from agent_manager.telemetry.structured import EventDict, Processor, WrappedLogger, structlog

LogFormat = Literal["json", "console", "auto"]

_OUR_LOGGERS = ("agent_manager", "management_api", "__main__")


def configure(level: str, log_format: LogFormat = "auto") -> None:
    """Send everything of `level` and above to standard error.

    `log_format` is `json` (an object a line), `console` (for people), or `auto`: `console` on a terminal, else `json`.
    """
    for_people = sys.stderr.isatty() if log_format == "auto" else log_format == "console"
    shared = _shared(for_people)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), _library_message, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _renderer(for_people)],
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Its own reports of lost connections; ours say the same with fields.
    logging.getLogger("nats").setLevel(logging.CRITICAL)


def set_level(level: str) -> None:
    """Write what is at least as severe as `level` from now on."""
    logging.getLogger().setLevel(level.upper())


def _shared(for_people: bool) -> list[Processor]:
    # The console's renderer formats tracebacks itself.
    exceptions: list[Processor] = [] if for_people else [structlog.processors.format_exc_info]
    return [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _trace_fields,
        *exceptions,
    ]


def _renderer(for_people: bool) -> Processor:
    return structlog.dev.ConsoleRenderer() if for_people else structlog.processors.JSONRenderer()


def _trace_fields(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    return {**tracing.log_fields(), **line}


def _library_message(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    record = line.get("_record")
    if isinstance(record, logging.LogRecord) and record.name.partition(".")[0] not in _OUR_LOGGERS:
        line["message"], line["event"] = line["event"], "library_message"
    return line
