"""The environment of a launch: what is read, and what is said when something is missing or wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent_manager.nats_access.identity import Nobody
from agent_manager.sdk.errors import LaunchEnvironmentError
from agent_manager.sdk.launch_environment import Identity, read

BY_HAND = {"AGENT_ID": "echo", "NATS_URL": "nats://127.0.0.1:4222"}
LAUNCHED = {
    **BY_HAND,
    "AGENT_NAME": "Echo",
    "AGENT_TYPE": "tool",
    "AGENT_VERSION": "1.2.3",
    "AGENT_INSTANCE_ID": "echo_0",
    "AGENT_LAUNCH_ID": "l1",
    "AGENT_NODE_ID": "node-1",
    "AGENT_INCARNATION": "4",
    "AGENT_CONFIG": '{"a": 1}',
    "AGENT_HEARTBEAT_INTERVAL_S": "2.5",
}


def test_everything_a_manager_gives_is_read() -> None:
    settings = read(LAUNCHED)
    assert settings.identity == Identity(
        agent_id="echo",
        name="Echo",
        type="tool",
        version="1.2.3",
        node_id="node-1",
        instance_id="echo_0",
        launch_id="l1",
        incarnation=4,
    )
    assert settings.access.servers == ("nats://127.0.0.1:4222",)
    assert settings.heartbeat_interval_s == 2.5
    assert settings.config == {"a": 1}
    assert settings.access.identity == Nobody()


def test_an_id_and_a_server_are_enough_to_run_by_hand() -> None:
    settings = read(BY_HAND)
    identity = settings.identity
    assert (identity.instance_id, identity.node_id) == ("echo_manual", "manual")
    assert (identity.name, identity.type, identity.version, identity.incarnation) == ("echo", "agent", "0.0.0", 0)
    assert settings.heartbeat_interval_s is None
    assert settings.config == {}


def test_every_run_by_hand_is_a_launch_of_its_own() -> None:
    assert read(BY_HAND).identity.launch_id != read(BY_HAND).identity.launch_id


@pytest.mark.parametrize("name", ["AGENT_ID", "NATS_URL", "AGENT_INSTANCE_ID", "AGENT_LAUNCH_ID", "AGENT_NODE_ID"])
@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_variable_is_named_with_what_to_do(name: str, value: str | None) -> None:
    environ = {key: text for key, text in LAUNCHED.items() if key != name}
    with pytest.raises(LaunchEnvironmentError, match=f"{name} is not set.*agent_packages.*by hand"):
        read(environ if value is None else {**environ, name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AGENT_ID", "Echo"),
        ("AGENT_ID", "a.b"),
        ("AGENT_INSTANCE_ID", "*"),
        ("AGENT_LAUNCH_ID", ">"),
        ("AGENT_NODE_ID", " "),
        ("AGENT_INCARNATION", "-1"),
        ("AGENT_INCARNATION", "one"),
        ("AGENT_CONFIG", "{"),
        ("AGENT_CONFIG", "[]"),
        ("AGENT_HEARTBEAT_INTERVAL_S", "0"),
        ("AGENT_HEARTBEAT_INTERVAL_S", "nan"),
        ("AGENT_HEARTBEAT_INTERVAL_S", "often"),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str) -> None:
    with pytest.raises(LaunchEnvironmentError, match=f"^{name} cannot be used: "):
        read({**LAUNCHED, name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NATS_URL", "http://127.0.0.1:4222"),
        ("NATS_URL", "nats://:4222"),
        ("NATS_URL", "nats://host:port"),
        ("NATS_URL", "nats://host:99999"),
        ("NATS_URL", ","),
        ("NATS_CREDS", "/nowhere/agent.creds"),
        ("NATS_NKEY", "/nowhere/agent.nk"),
        ("NATS_CA", "/nowhere/ca.pem"),
        ("NATS_CERT", "/nowhere/agent.pem"),
        ("NATS_USER", "without a password"),
        ("NATS_TLS_VERIFY", "perhaps"),
        ("NATS_CONTEXT", "/nowhere/context.json"),
    ],
)
def test_how_nats_cannot_be_reached_is_said_with_the_variable(name: str, value: str) -> None:
    with pytest.raises(LaunchEnvironmentError, match=f"^NATS cannot be reached as .*{name}"):
        read({**LAUNCHED, name: value})


def test_two_identities_are_both_named(tmp_path: Path) -> None:
    with pytest.raises(LaunchEnvironmentError, match="NATS_NKEY and NATS_TOKEN are set"):
        read({**LAUNCHED, "NATS_TOKEN": "t", "NATS_NKEY": "/agent.nk"})


def test_a_context_is_enough_to_run_by_hand(tmp_path: Path) -> None:
    context = tmp_path / "nats" / "context" / "prod.json"
    context.parent.mkdir(parents=True)
    context.write_text('{"url": "nats://a:1", "user": "me", "password": "hunter2"}')
    settings = read({"AGENT_ID": "echo", "NATS_CONTEXT": "prod", "XDG_CONFIG_HOME": str(tmp_path)})
    assert settings.access.description == "nats://a:1 as user me with a password"


def test_a_password_in_a_wrong_url_is_not_shown() -> None:
    with pytest.raises(LaunchEnvironmentError) as raised:
        read({**BY_HAND, "NATS_URL": "http://user:hunter2@host"})
    assert "hunter2" not in str(raised.value)


def test_several_servers_are_separated_by_commas() -> None:
    servers = read({**BY_HAND, "NATS_URL": "nats://a:1, b:2,tls://c:3"}).access.servers
    assert servers == ("nats://a:1", "nats://b:2", "tls://c:3")


def test_a_file_that_holds_no_credentials_is_refused_before_the_client_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "agent.creds"
    path.write_text("nothing of use")
    with pytest.raises(LaunchEnvironmentError, match=r"NATS_CREDS.*agent\.creds holds no NATS credentials"):
        read({**BY_HAND, "NATS_CREDS": str(path)})
