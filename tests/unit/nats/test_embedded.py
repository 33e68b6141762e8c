from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

import pytest

from agent_manager.adapters.nats.embedded import (
    EmbeddedNats,
    ListenError,
    ServerMissingError,
    check_port_free,
    find_server,
    free_port,
    prepare,
)

HOST = "127.0.0.1"
NOW = 1_700_000_000.0


def prepared(data_dir: Path, *, host: str = HOST) -> EmbeddedNats:
    return prepare(data_dir=data_dir, host=host, port=free_port(host), now=NOW)


def test_the_configuration_is_for_a_durable_server_that_lets_in_only_whom_it_knows(tmp_path: Path) -> None:
    embedded = prepared(tmp_path)
    configuration = json.loads(embedded.files.configuration.read_text())
    assert (configuration["host"], configuration["port"]) == (HOST, embedded.port)
    assert configuration["jetstream"] == {"store_dir": str(tmp_path / "nats" / "jetstream"), "sync_interval": "always"}
    assert configuration["max_payload"] == 8_388_608
    assert configuration["resolver"] == "MEMORY"
    assert configuration["system_account"] == embedded.keyring.system_account.public
    assert set(configuration["resolver_preload"]) == {
        embedded.keyring.system_account.public,
        embedded.keyring.account.public,
    }
    assert not {"http", "http_port", "no_auth_user"} & set(configuration)


def test_no_seed_is_in_the_configuration(tmp_path: Path) -> None:
    embedded = prepared(tmp_path)
    text = embedded.files.configuration.read_text()
    for path in embedded.files.keys.iterdir():
        assert path.read_text().strip() not in text


def test_every_file_is_its_owners_alone(tmp_path: Path) -> None:
    prepared(tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"server.conf", "manager.creds", "api.creds", "service.creds", "account.nk"}
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


def test_manager_api_and_services_get_new_users_at_each_preparation_and_the_keys_stay(tmp_path: Path) -> None:
    first = prepared(tmp_path)
    users = [first.files.manager_credentials, first.files.api_credentials, first.files.service_credentials]
    before = [path.read_text() for path in users]
    second = prepared(tmp_path)
    assert all(text != path.read_text() for text, path in zip(before, users, strict=True))
    assert second.keyring.account_signing.seed == first.keyring.account_signing.seed


def test_the_program_runs_with_this_configuration_and_is_reached_at_the_url(tmp_path: Path) -> None:
    embedded = prepared(tmp_path)
    assert embedded.argv == (str(find_server()), "--config", str(tmp_path / "nats" / "server.conf"))
    assert embedded.url == f"nats://{HOST}:{embedded.port}"


def test_a_server_that_listens_everywhere_is_reached_on_this_host(tmp_path: Path) -> None:
    embedded = prepared(tmp_path, host="0.0.0.0")
    assert embedded.url == f"nats://127.0.0.1:{embedded.port}"


def test_a_data_directory_with_any_name_survives_the_configurations_quoting(tmp_path: Path) -> None:
    data_dir = tmp_path / 'd\'é "$HOME" #'
    embedded = prepared(data_dir)
    store = json.loads(embedded.files.configuration.read_text())["jetstream"]["store_dir"]
    assert store == str(data_dir / "nats" / "jetstream")


def test_the_program_next_to_this_python_comes_before_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for directory in ("beside", "on-path"):
        (tmp_path / directory).mkdir()
        (tmp_path / directory / "nats-server").touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "beside" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "on-path"))
    assert find_server() == tmp_path / "beside" / "nats-server"
    (tmp_path / "beside" / "nats-server").unlink()
    assert find_server() == tmp_path / "on-path" / "nats-server"


def test_without_the_program_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServerMissingError, match=r"agent-manager\[embedded\]"):
        prepared(tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_port_in_use_is_named_with_the_flag_that_changes_it(tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ListenError, match=rf"{HOST}:{port}: another program does.*--nats-port"):
            prepare(data_dir=tmp_path, host=HOST, port=port, now=NOW)


@pytest.mark.parametrize(("host", "port"), [("192.0.2.1", 4222), (HOST, 65_536)])
def test_an_address_this_host_cannot_listen_on_is_named(host: str, port: int) -> None:
    with pytest.raises(ListenError, match=rf"{host}:{port}: .*Check the address"):
        check_port_free(host, port)


def test_another_listener_is_named_with_its_own_flag() -> None:
    with pytest.raises(ListenError, match=r"the management API cannot listen .* with --port$"):
        check_port_free("192.0.2.1", 8000, listener="the management API", flag="--port")


def test_a_free_port_is_free() -> None:
    check_port_free(HOST, free_port(HOST))
