"""Log lines: an event name, ids as fields, and the request they belong to."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from agent_manager.protocol import tracing
from agent_manager.telemetry import log_lines
from agent_manager.telemetry.log_lines import LogFormat


class Terminal(io.StringIO):
    """Where people read."""

    def isatty(self) -> bool:
        return True


Configure = Callable[..., io.StringIO]


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> Iterator[Configure]:
    """Configures, and returns what standard error will hold. The whole process is put back as it was."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.getLogger("nats").level

    def configure(level: str, log_format: LogFormat = "auto", *, terminal: bool = False) -> io.StringIO:
        written = Terminal() if terminal else io.StringIO()
        monkeypatch.setattr(sys, "stderr", written)
        log_lines.configure(level, log_format)
        return written

    yield configure
    root.handlers[:], root.level, nats_level = before
    logging.getLogger("nats").setLevel(nats_level)
    structlog.reset_defaults()


def lines(stderr: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stderr.getvalue().splitlines()]


def test_both_ways_to_log_give_the_same_line(configured: Configure) -> None:
    stderr = configured("info")
    logging.getLogger("agent_manager.part").info("it_happened", extra={"agent_id": "echo"})
    structlog.stdlib.get_logger("agent_manager.part").info("it_happened", agent_id="echo")
    first, second = lines(stderr)
    assert first.keys() == second.keys()
    for line in (first, second):
        assert line["event"] == "it_happened"
        assert line["agent_id"] == "echo"
        assert (line["level"], line["logger"]) == ("info", "agent_manager.part")
        assert line["timestamp"].endswith("Z")


def test_a_line_says_for_which_request_it_is(configured: Configure) -> None:
    stderr = configured("info", "json")
    with tracing.bound(tracing.received({"x-request-id": "r-1"})) as trace:
        logging.getLogger("agent_manager.part").info("inside")
        structlog.stdlib.get_logger("management_api.part").info("inside")
    logging.getLogger("agent_manager.part").info("outside")
    *inside, outside = lines(stderr)
    assert [(line["request_id"], line["trace_id"]) for line in inside] == [("r-1", trace.trace_id)] * 2
    assert "request_id" not in outside


def test_what_a_library_says_is_its_message_and_not_an_event(configured: Configure) -> None:
    stderr = configured("info", "json")
    logging.getLogger("uvicorn.error").info("Started server process [%d]", 7)
    (line,) = lines(stderr)
    assert (line["event"], line["message"]) == ("library_message", "Started server process [7]")


def test_an_exception_is_a_field_of_its_line(configured: Configure) -> None:
    stderr = configured("info", "json")
    try:
        raise ValueError("what was wrong")
    except ValueError:
        logging.getLogger("agent_manager.part").exception("it_failed")
    (line,) = lines(stderr)
    assert "ValueError: what was wrong" in line["exception"]


def test_below_the_level_nothing_is_written(configured: Configure) -> None:
    stderr = configured("WARNING", "json")
    logging.getLogger("agent_manager.part").info("quiet")
    structlog.stdlib.get_logger("agent_manager.other").info("quiet")
    assert stderr.getvalue() == ""


def test_on_a_terminal_lines_are_for_people(configured: Configure) -> None:
    terminal = configured("info", terminal=True)
    logging.getLogger("agent_manager.part").info("it_happened", extra={"agent_id": "echo"})
    assert "it_happened" in terminal.getvalue()
    with pytest.raises(json.JSONDecodeError):
        json.loads(terminal.getvalue())


def test_json_may_be_asked_for_on_a_terminal_too(configured: Configure) -> None:
    terminal = configured("info", "json", terminal=True)
    logging.getLogger("agent_manager.part").info("it_happened")
    assert json.loads(terminal.getvalue())["event"] == "it_happened"
