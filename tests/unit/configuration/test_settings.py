"""The settings of the programs: every name of the requirements works, and the generated files say what is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent_manager.configuration.loading import ConfigurationError
from agent_manager.configuration.presentation import annotated_file, in_force
from agent_manager.configuration.program import Program
from agent_manager.settings.manager import MANAGER, secret_variables
from management_api.settings import API
from tools.generate import ROOT, pages

PROGRAMS = (MANAGER, API)

FROM_THE_ENVIRONMENT = {
    "AGENT_HEALTH_CHECK_INTERVAL": ("30s", "health.check_interval", "30s"),
    "AGENT_MAX_CONCURRENT_TASKS": ("7", "tasks.max_concurrent", "7"),
    "AGENT_TASK_TIMEOUT": ("5m", "tasks.timeout", "300s"),
    "AGENT_ROUTING_STRATEGY": ("capability_based", "routing.strategy", "capability_based"),
    "AGENT_ROUTING_WEIGHTS_CAPABILITY": ("0.5", "routing.weights.capability", "0.5"),
    "AGENT_ROUTING_WEIGHTS_PERFORMANCE": ("0.5", "routing.weights.performance", "0.5"),
    "AGENT_ROUTING_WEIGHTS_LOAD": ("0.5", "routing.weights.load", "0.5"),
    "AGENT_ROUTING_WEIGHTS_COST": ("0.5", "routing.weights.cost", "0.5"),
    "AGENT_COLLABORATION_TIMEOUT": ("10m", "collaboration.timeout", "600s"),
    "AGENT_CONSENSUS_THRESHOLD": ("0.9", "collaboration.consensus.threshold", "0.9"),
    "AGENT_CONSENSUS_MAX_ROUNDS": ("6", "collaboration.consensus.max_rounds", "6"),
    "DATABASE_URL": ("postgresql://me:pw@h/d", "database.url", "postgresql://me:********@h/d"),
}

OF_THE_MANAGER = """
service:
  name: opmas-agent-manager
  version: "1.0.0"
  log_level: INFO
  discovery_interval: 300  # seconds
  monitoring_interval: 10
  cleanup_interval: 3600
database:
  url: postgresql+asyncpg://user:pass@localhost/opmas
  pool_size: 5
  max_overflow: 10
nats:
  url: nats://localhost:4222
  user: opmas
  password: your_secure_password
  tls_verify: false
"""
OF_THE_AGENTS = """
agents:
  manager: {health_check_interval: 30s, max_concurrent_tasks: 10, task_timeout: 5m}
  routing:
    strategy: capability_based
    weights: {capability: 0.4, performance: 0.3, load: 0.2, cost: 0.1}
  collaboration:
    timeout: 10m
    strategies:
      consensus: {threshold: 0.8, max_rounds: 5}
      map_reduce: {max_parallel: 20}
  models:
    allowed: [claude-3-opus, gpt-4]
    cost_limits: {per_task: 0.10, per_session: 1.00}
"""
OF_THE_SERVICES = """
services:
  agent_manager: {enabled: true, max_concurrent_tasks: 10, task_timeout: 300s}
  conversations: {enabled: true, max_messages: 100, context_window: 50}
"""
OF_THE_ORCHESTRATOR = """
agent_manager: {max_concurrent_tasks: 10, task_timeout: 5m, retry_attempts: 3, health_check_interval: 30s}
monitoring: {enabled: true}
caching: {enabled: true}
"""
OF_THE_API = """
service: {name: opmas-management-api, version: "1.0.0", host: 127.0.0.1, port: 8000, log_level: INFO}
database: {url: postgresql+asyncpg://user:pass@localhost/opmas, pool_size: 5, max_overflow: 10}
nats: {url: nats://localhost:4222, user: opmas, password: your_secure_password, tls_verify: false}
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("variable", FROM_THE_ENVIRONMENT)
def test_every_variable_of_the_requirements_is_understood(variable: str) -> None:
    given, name, value = FROM_THE_ENVIRONMENT[variable]
    loaded = MANAGER.load({variable: given})
    assert (name, value, f"environment {variable}") in set(in_force(loaded, MANAGER))


@pytest.mark.parametrize(
    ("program", "text"),
    [
        (MANAGER, OF_THE_MANAGER),
        (MANAGER, OF_THE_AGENTS),
        (MANAGER, OF_THE_SERVICES),
        (MANAGER, OF_THE_ORCHESTRATOR),
        (API, OF_THE_API),
    ],
)
def test_every_file_of_the_requirements_is_understood(program: Program[Any], text: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    loaded = program.load({}, config=file)
    assert len(loaded.origins) == leaves(yaml.safe_load(text))


def leaves(data: Any) -> int:
    """Values in nested mappings."""
    return sum(leaves(value) for value in data.values()) if isinstance(data, dict) else 1


def test_a_jwt_secret_is_taken_by_the_api() -> None:
    assert API.load({"JWT_SECRET": "s"}).settings.auth.jwt_secret is not None


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_annotated_file_changes_nothing_and_is_valid_with_every_key_switched_on(
    program: Program[Any], tmp_path: Path
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(annotated_file(program))
    defaults = program.load({}, config=file)
    assert defaults.origins == {}
    file.write_text(re.sub(r"^( *)#(\w+: )", r"\1\2", annotated_file(program), flags=re.MULTILINE))
    assert program.load({}, config=file).settings == defaults.settings


@pytest.mark.parametrize("program", PROGRAMS)
def test_no_variable_means_two_settings(program: Program[Any]) -> None:
    names = [name for key in program.keys for name in key.variables(program.prefix)]
    assert len(names) == len(set(names))
    places = [place for key in program.keys for place in key.paths]
    assert len(places) == len(set(places))


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_setting_says_what_it_is(program: Program[Any]) -> None:
    assert [key.name for key in program.keys if not key.description] == []


@pytest.mark.parametrize("name", pages())
def test_generated_files_are_current(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == pages()[name], "run `make reference`"


@pytest.mark.parametrize(
    ("nats", "words"),
    [
        ({"URL": "nats://a", "USER": "me"}, "nats.password must be given too where nats.user is"),
        ({"URL": "nats://a", "TLS_CERT": "c"}, "nats.tls_key must be given too where nats.tls_cert is"),
        ({"URL": "nats://a", "TOKEN": "t", "CREDS": "c"}, "nats.creds must be left out, since nats.token says"),
        ({"URL": "nats://a:b@c", "TOKEN": "t"}, "nats.token must be left out, since the address in nats.url says"),
        ({"TOKEN": "t"}, r"nats.url must be given \(the server's address\) where nats.token is"),
    ],
)
def test_what_contradicts_itself_about_the_bus_is_refused(nats: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        MANAGER.load({f"AGENT_MANAGER_NATS_{name}": value for name, value in nats.items()})


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("USER", "nats.password must be given too where nats.user is"),
        ("PASSWORD", "nats.user must be given too where nats.password is"),
        ("TLS_KEY", "nats.tls_cert must be given too where nats.tls_key is"),
        ("TOKEN", "nats.url must be given (the server's address) where nats.token is"),
        ("TLS_CA", "nats.url must be given (the server's address) where nats.tls_ca is"),
    ],
)
def test_what_lacks_something_is_named_with_its_place(name: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        MANAGER.load({f"AGENT_MANAGER_NATS_{name}": "x"})
    assert refused.value.faults == (f"environment AGENT_MANAGER_NATS_{name}: {words}",)


def test_what_lacks_something_in_a_file_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("nats:\n  url: nats://a\n  tls_cert: c\n")
    with pytest.raises(ConfigurationError, match=r"settings.yaml:3: nats.tls_key must be given too"):
        MANAGER.load({}, config=file)


def test_a_variable_of_the_api_that_is_none_gets_no_far_fetched_proposal() -> None:
    with pytest.raises(ConfigurationError, match=r"environment MANAGEMENT_API_FOO: .*: no setting has that name$"):
        API.load({"MANAGEMENT_API_FOO": "x"})
    with pytest.raises(ConfigurationError, match=r"did you mean MANAGEMENT_API_SERVICE_LOG_LEVEL\?$"):
        API.load({"MANAGEMENT_API_LOG_LEVEL": "x"})


@pytest.mark.parametrize(
    ("variable", "url", "shown"),
    [
        ("DATABASE_URL", "mysql://me:hunter2@h/d", "mysql://me:********@h/d"),
        ("AGENT_MANAGER_DATABASE_URL", "postgresql://me:hun/ter2@h/d", "postgresql://me:********@h/d"),
        ("AGENT_MANAGER_DATABASE_URL", "postgresql://h:99999/d", "postgresql://h:99999/d"),
        ("AGENT_MANAGER_DATABASE_URL", "postgresql://a,b:99999/d", "postgresql://a,b:99999/d"),
        ("AGENT_MANAGER_DATABASE_URL", "postgresql:///d?port=x", "postgresql:///d?port=x"),
        ("AGENT_MANAGER_DATABASE_URL", "postgresql://h/d?sslmode=on", "postgresql://h/d?sslmode=on"),
        ("AGENT_MANAGER_DATABASE_URL", "sqlite://file.db", "sqlite://file.db"),
        ("DATABASE_URL", "sqlite:///file:/a.db?uri=true", "sqlite:///file:/a.db?uri=true"),
        ("DATABASE_URL", "sqlite:///:memory:", "sqlite:///:memory:"),
        ("DATABASE_URL", "sqlite:////a.db?mode=ro", "sqlite:////a.db?mode=ro"),
        ("AGENT_MANAGER_DATABASE_URL", "hunter2", "********"),
        ("AGENT_MANAGER_NATS_URL", "http://x", "http://x"),
        ("AGENT_MANAGER_NATS_URL", "nats://h:99999", "nats://h:99999"),
        ("AGENT_MANAGER_NATS_URL", "nats://a,ws://u:hunter2@b", "nats://a,ws://u:********@b"),
        ("AGENT_MANAGER_NATS_URL", "nats://u:hunter2@a,nats://v:hunter3@b", "nats://u:********@a,nats://v:********@b"),
        ("AGENT_MANAGER_NATS_URL", "nats://u:1?hunter2@a", "nats://********"),
        ("MANAGEMENT_API_NATS_URL", "http://hunter2@x", "http://********@x"),
        ("MANAGEMENT_API_DATABASE_URL", "mysql://a/b", "mysql://a/b"),
    ],
)
def test_an_address_that_is_none_is_refused_with_its_place_and_without_its_password(
    variable: str, url: str, shown: str
) -> None:
    program = API if variable.startswith(API.prefix) else MANAGER
    with pytest.raises(ConfigurationError) as refused:
        program.load({variable: url})
    key = "nats.url" if "NATS" in variable else "database.url"
    (fault,) = refused.value.faults
    assert fault.startswith(f"environment {variable}: {key} must be ")
    assert ("nats://host:port" if "NATS" in variable else "postgresql://user:password@host") in fault
    assert fault.endswith(f', not "{shown}"')


def test_an_address_in_a_list_of_a_file_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text('nats:\n  url: ["nats://a", "http://u:hunter2@b"]\n')
    with pytest.raises(ConfigurationError, match=r'settings.yaml:2: .*, not "nats://a,http://u:\*{8}@b"$'):
        MANAGER.load({}, config=file)


@pytest.mark.parametrize("name", ["CREDS", "NKEY", "TLS_KEY", "SIGNING_KEY"])
@pytest.mark.parametrize("secret", [f"S{'A' * 57}", "-----BEGIN NATS USER JWT----- eyJ"])
def test_a_secret_in_the_place_of_its_file_is_refused_and_not_repeated(name: str, secret: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        MANAGER.load({f"AGENT_MANAGER_NATS_{name}": secret})
    said = refused.value.faults[0]
    key = name.lower()
    assert said.startswith(
        f"environment AGENT_MANAGER_NATS_{name}: nats.{key} must be the path of a file that holds it"
    )
    assert secret not in said


@pytest.mark.parametrize("text", ["user: {topsecret: x}", "user: 12345", "{user:topsecret}", "url: [{topsecret: 1}]"])
def test_what_is_wrong_among_credentials_is_not_repeated(text: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(f"nats:\n  {text}\n")
    with pytest.raises(ConfigurationError) as refused:
        MANAGER.load({}, config=file)
    assert not [secret for secret in ("topsecret", "12345") if secret in str(refused.value)]
    assert f"{file}:2: nats" in str(refused.value)


def test_the_names_of_secrets_are_known_so_that_agents_do_not_inherit_them() -> None:
    assert {"DATABASE_URL", "JWT_SECRET", "AGENT_MANAGER_NATS_PASSWORD"} <= secret_variables()
    assert {key.setting.variables for key in API.keys if key.setting.secret} <= {("DATABASE_URL",), ("JWT_SECRET",), ()}


@pytest.mark.parametrize(
    ("variable", "url", "shown"),
    [
        ("DATABASE_URL", "postgresql://me:hunter2@h/d", "postgresql://me:********@h/d"),
        ("DATABASE_URL", "sqlite:////path/file.db", "sqlite:////path/file.db"),
        ("DATABASE_URL", "postgresql://me@h/d?password=hunter2", "postgresql://me@h/d?password=********"),
        ("AGENT_MANAGER_NATS_URL", "nats://me:hunter2@a:1,nats://b:2", '["nats://me:********@a:1", "nats://b:2"]'),
        ("AGENT_MANAGER_NATS_URL", "nats://hunter2@a:1", '["nats://********@a:1"]'),
        ("AGENT_MANAGER_NATS_URL", "me:hunter2@a:1", '["me:********@a:1"]'),
        ("AGENT_MANAGER_NATS_URL", "hunter2@b", '["********@b"]'),
    ],
)
def test_what_is_secret_in_an_address_is_not_shown(variable: str, url: str, shown: str) -> None:
    values = {value for _, value, _ in in_force(MANAGER.load({variable: url}), MANAGER)}
    assert shown in values
