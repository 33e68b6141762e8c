"""What a person sees of a node in the terminal."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_manager.cli.console import banner, line, told
from agent_manager.protocol.messages import EventMessage
from agent_manager.settings.manager import ManagerSettings
from tests.harness import hostile

STATE = {
    "api_url": "http://127.0.0.1:8000",
    "metrics_url": "http://127.0.0.1:8001/metrics",
    "nats_url": "nats://127.0.0.1:4222",
    "nats_creds": "/data/service.creds",
}


def shown(data_dir: Path) -> str:
    settings = ManagerSettings(data_dir=data_dir, packages_dir=Path("/packages"))
    return banner(settings, STATE, Path("/venv/bin"))


def test_the_banner_says_where_everything_is() -> None:
    text = shown(Path("/data"))
    for part in (
        *STATE.values(),
        "/packages",
        "/data/logs",
        "isolation  off",
        "/venv/bin/agentctl --data-dir /data ls",
    ):
        assert part in text


def test_without_a_listener_of_the_manager_the_banner_names_the_metrics_of_the_api_alone() -> None:
    state = {name: value for name, value in STATE.items() if name != "metrics_url"}
    text = banner(ManagerSettings(), state, Path("/venv/bin"))
    assert "metrics    http://127.0.0.1:8000/metrics" in text


def test_paths_below_the_working_directory_are_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = shown(tmp_path / ".agent-manager")
    assert "data       .agent-manager" in text
    assert "--data-dir" not in text


def event(**changes: Any) -> EventMessage:
    fields = {"sequence": 1, "type": "running", "agent_id": "echo", "message": "ready", "at": datetime.now(UTC)}
    return EventMessage.model_validate({**fields, **changes})


def test_a_line_names_the_instance_or_else_the_agent() -> None:
    at = datetime.now(UTC)
    said = line(event(at=at, type="registered", message="registered from /packages/echo"))
    assert said.split() == [f"{at.astimezone():%H:%M:%S}", "echo", "registered", "registered", "from", "/packages/echo"]
    assert "echo_3 " in line(event(instance_id="echo_3"))


@pytest.mark.parametrize(("data", "end"), [({"pid": 7}, "ready (pid 7)"), ({"pid": None}, "ready"), ({}, "ready")])
def test_what_runs_is_shown_with_its_process(data: dict[str, Any], end: str) -> None:
    assert line(event(data=data)).endswith(end)


@settings(hostile.thorough, max_examples=300)
@given(
    body=hostile.bodies(hostile.valid(EventMessage)),
    subject=st.sampled_from(["agent.event.echo.running", "agent.event.\x1b[2J.x", "agent.event.a\rb.x"]),
)
def test_whatever_is_told_as_an_event_is_one_line_that_harms_no_terminal(body: bytes, subject: str) -> None:
    assert told(subject, body).isprintable()


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_a_moment_that_local_time_does_not_have_is_unreadable(at: str) -> None:
    body = json.dumps({**event().model_dump(mode="json"), "at": at}).encode()
    assert told("agent.event.echo.running", body) == "unreadable event on agent.event.echo.running"
