"""A service table is read strictly: an error names file, key, value and what is expected."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent_manager.launcher.service_table import ControllerReady, TableError, TcpReady, load
from tests.harness.launcher import manager_service, service, service_table


def _table(directory: Path) -> dict[str, Any]:
    nats = service("nats", "nats-server", ready={"kind": "tcp", "host": "127.0.0.1", "port": 4222})
    return service_table(directory, [nats, manager_service(directory)])


def _write(directory: Path, content: str) -> str:
    path = directory / "table.json"
    path.write_text(content)
    return str(path)


def test_a_table_is_read_completely(tmp_path: Path) -> None:
    table = load(_write(tmp_path, json.dumps(_table(tmp_path))))
    assert [service.name for service in table.services] == ["nats", "manager"]
    assert table.services[0].ready == TcpReady("127.0.0.1", 4222)
    assert table.services[1].ready == ControllerReady(15.0, 30.0)
    assert table.services[0].stop_signal.name == "SIGTERM"
    assert table.state_file.pids == ("nats", "manager")
    assert (table.hangup, table.services[0].reload_signal) == ("stop", None)


def _set(*path: str | int, value: object) -> Callable[[dict[str, Any]], None]:
    def change(table: Any) -> None:
        for step in path[:-1]:
            table = table[step]
        table[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (_set("protocol", value=2), "protocol: 2: expected 1"),
        (_set("hangup", value="ignore"), "hangup: 'ignore': expected 'stop' or 'reload'"),
        (_set("services", 0, "reload_signal", value="HUP"), "reload_signal: 'HUP': expected the name of a signal"),
        (_set("surprise", value=1), "surprise: unknown; known are protocol"),
        (_set("lock_file", value="here"), "lock_file: 'here': expected an absolute path"),
        (_set("stop_timeout_s", value=True), "stop_timeout_s: True: expected a number"),
        (_set("services", value={}), r"services: {}: expected a list"),
        (_set("services", 0, value=[]), r"services\[0\]: \[\]: expected an object"),
        (_set("services", 0, "argv", value=[]), r"services\[0\].argv: \[\]: expected a list of strings"),
        (_set("services", 0, "argv", value=["a\0b"]), r"services\[0\].argv: .*: expected a string without NUL"),
        (_set("services", 0, "env", value={"A=B": "c"}), r"services\[0\].env: .* neither empty nor contain '='"),
        (_set("services", 0, "output", value="file"), r"output: 'file': expected 'log' or 'inherit'"),
        (_set("services", 0, "name", value="a/b"), "name: 'a/b': expected a name without '/'"),
        (_set("services", 0, "stop_signal", value="TERM"), "stop_signal: 'TERM': expected the name of a signal"),
        (_set("services", 0, "stop_timeout_s", value=0), "stop_timeout_s: 0: expected a number above 0"),
        (_set("services", 0, "ready", "kind", value="http"), "ready.kind: 'http': expected 'none' or 'tcp'"),
        (_set("services", 0, "ready", "host", value="localhost"), "host: 'localhost': expected a numeric IP address"),
        (_set("services", 0, "ready", "port", value=65536), "port: 65536: expected a port number"),
        (_set("services", 1, "name", value="nats"), "'nats' is there more than once"),
        (
            _set("services", 1, "ready", "start_timeout_s", value=float("nan")),
            "start_timeout_s: nan: expected a number",
        ),
        (_set("state_file", "pids", value=["api"]), "state_file.pids: 'api': expected the name of a service"),
    ],
)
def test_an_error_says_what_is_wrong_and_what_is_expected(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], complaint: str
) -> None:
    table = _table(tmp_path)
    change(table)
    path = _write(tmp_path, json.dumps(table))
    with pytest.raises(TableError, match=complaint) as refused:
        load(path)
    assert path in str(refused.value)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    table = _table(tmp_path)
    del table["services"][1]["ready"]["hang_timeout_s"]
    with pytest.raises(TableError, match=r"services\[1\].ready.hang_timeout_s: missing"):
        load(_write(tmp_path, json.dumps(table)))


def test_only_one_service_can_be_the_controller(tmp_path: Path) -> None:
    table = _table(tmp_path)
    table["services"][0]["ready"] = table["services"][1]["ready"]
    with pytest.raises(TableError, match=r"'nats', 'manager'.* expected at most one"):
        load(_write(tmp_path, json.dumps(table)))


@pytest.mark.parametrize("content", ["", "{", "[" * 100_000, "\udcff"])
def test_a_file_that_is_not_json_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "table.json"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(TableError, match="is not JSON"):
        load(str(path))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="No such file"):
        load(str(tmp_path / "table.json"))
