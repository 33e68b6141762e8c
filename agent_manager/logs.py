"""Structured logs: one JSON object a line on standard error, with a stable `event` name and ids as fields."""

from __future__ import annotations

import logging

import structlog


def configure(level: str) -> None:
    """Send everything that is logged, here and in libraries, to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.ExtraAdder(),
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # Its own reports of lost connections; ours say the same with fields.
    logging.getLogger("nats").setLevel(logging.CRITICAL)
    # A line for every change it sees, those an agent makes in its own folder included.
    logging.getLogger("watchfiles").setLevel(logging.WARNING)


def set_level(level: str) -> None:
    """Log what is at least as severe as `level` from now on."""
    logging.getLogger().setLevel(level)
