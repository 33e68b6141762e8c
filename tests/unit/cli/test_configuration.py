"""`agent-manager config`, and what the programs say of settings that are wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from agent_manager.cli.agent_manager import app


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "AGENT_MANAGER_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def agent_manager(*arguments: str, **variables: str) -> Result:
    return CliRunner().invoke(app, arguments, env=variables)


def test_show_tells_value_and_origin_and_masks_secrets() -> None:
    Path("config").mkdir()
    Path("config/agent_manager.yaml").write_text("service:\n  log_level: debug\n")
    said = agent_manager("config", "show", "--changed", DATABASE_URL="postgresql://me:hunter2@host/name")
    assert said.exit_code == 0
    lines = [line.split() for line in said.stdout.splitlines() if line]
    assert lines == [
        ["SETTING", "VALUE", "FROM"],
        ["service.log_level", "DEBUG", "config/agent_manager.yaml:2"],
        ["database.url", "postgresql://me:********@host/name", "environment", "DATABASE_URL"],
        ["file:", "config/agent_manager.yaml"],
    ]


def test_show_as_json_has_every_setting() -> None:
    shown = json.loads(agent_manager("config", "show", "api", "--json").stdout)
    assert shown["service.port"] == {"value": "8000", "origin": "default"}


def test_show_says_so_when_nothing_is_changed() -> None:
    assert "everything is at its default" in agent_manager("config", "show", "--changed").stdout


def test_a_template_can_be_used_as_it_is() -> None:
    Path("mine.yaml").write_text(agent_manager("config", "template").stdout)
    assert agent_manager("config", "show", "--config", "mine.yaml").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "variables", "words"),
    [
        (["config", "show"], {"AGENT_MANAGER_DATBASE_URL": "x"}, "did you mean AGENT_MANAGER_DATABASE_URL?"),
        (["up", "--log-level", "LOUD"], {}, "--log-level: service.log_level must be one of DEBUG"),
        (["up", "--host", "0.0.0.0"], {}, "--host: service.host must be a loopback address"),
        (["run"], {"AGENT_MANAGER_SERVICE_STOP_TIMEOUT": "never"}, "must be a duration from 1s to 1h"),
        (["up"], {"AGENT_MANAGER_DATABASE_URL": "mysql://a/b"}, "DATABASE_URL: database.url must be postgresql://"),
        (["migrate", "--database-url", "mysql://a/b"], {}, "--database-url: database.url must be postgresql://"),
        (["up"], {"AGENT_MANAGER_NATS_URL": "nats://h:99999"}, "NATS_URL: nats.url must be nats://host:port"),
        (["up"], {"AGENT_MANAGER_NATS_CONTEXT": "./gone.json"}, "nats.context names the context './gone.json'"),
        (["run"], {}, "run needs a NATS server: name it with nats.url"),
        (["run", "--config", "gone.yaml"], {}, "gone.yaml cannot be read: No such file"),
    ],
)
def test_settings_that_are_wrong_end_every_command_with_2(
    arguments: list[str], variables: dict[str, str], words: str
) -> None:
    said = agent_manager(*arguments, **variables)
    assert said.exit_code == 2
    assert words in said.stderr
    assert "Traceback" not in said.output


def test_a_setting_without_effect_is_named_at_the_start() -> None:
    said = agent_manager("run", AGENT_TASK_TIMEOUT="5m", AGENT_MANAGER_NATS_URL="nats://127.0.0.1:1")
    assert "environment AGENT_TASK_TIMEOUT: tasks.timeout has no effect yet: tasks will use it" in said.stderr
    assert "does not exist; make it" in said.stderr
