"""Log lines of an agent's process: those written while a command is carried out say for which request."""

from __future__ import annotations

import logging
from collections.abc import Callable

from agent_manager.protocol import tracing

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def configure() -> None:
    """Log to standard error from INFO on, unless the root logger has handlers already.

    Every record has `request_id` and `trace_id`, for formats of the author's own; empty outside of a command.
    """
    logging.setLogRecordFactory(_traced(logging.getLogRecordFactory()))
    handler = logging.StreamHandler()
    handler.setFormatter(_TracedFormatter(_FORMAT))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


class _TracedFormatter(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the name logging calls
        line = super().formatMessage(record)
        request_id, trace_id = getattr(record, "request_id", ""), getattr(record, "trace_id", "")
        return f"{line} [request_id={request_id} trace_id={trace_id}]" if request_id else line


def _traced(make: Callable[..., logging.LogRecord]) -> Callable[..., logging.LogRecord]:
    def made(*args: object, **kwargs: object) -> logging.LogRecord:
        record = make(*args, **kwargs)
        fields = tracing.log_fields()
        record.request_id = fields.get("request_id", "")
        record.trace_id = fields.get("trace_id", "")
        return record

    return made
