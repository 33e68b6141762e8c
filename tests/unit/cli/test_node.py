"""What `agent-manager up` and `run` decide before they become the launcher."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent_manager.adapters.nats.embedded import ListenError
from agent_manager.cli.node import AlreadyRunningError, DataDirectoryError, NodeOptions, become_node
from agent_manager.domain.errors import InvalidRequestError
from agent_manager.launcher import service_table
from agent_manager.settings.manager import ManagerSettings
from management_api.settings import Settings as ApiSettings


class BecameTheLauncherError(Exception):
    """Instead of `execv`."""


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NodeOptions]:
    """Ports that are free. While the launcher takes over, signals are held back."""

    def execv(program: str, argv: list[str]) -> None:
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) >= {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
        raise BecameTheLauncherError(*argv)

    monkeypatch.setattr(os, "execv", execv)
    (tmp_path / "packages").mkdir()
    unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield chosen(tmp_path)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == unblocked


def chosen(
    tmp_path: Path, *, api: bool = True, host: str = "127.0.0.1", port: int = 0, nats_port: int = 0, **settings: Any
) -> NodeOptions:
    """A node below `tmp_path`."""
    paths = {"data_dir": tmp_path / "data", "packages_dir": tmp_path / "packages"}
    return NodeOptions(
        settings=ManagerSettings.model_validate({**paths, **settings}),
        api=ApiSettings.model_validate({"service": {"host": host, "port": port}}) if api else None,
        nats_port=nats_port,
        given={"AGENT_MANAGER_DATA_DIR": str(tmp_path / "data")},
    )


def table(options: NodeOptions) -> dict[str, Any]:
    with pytest.raises(BecameTheLauncherError) as became:
        become_node(options)
    path = became.value.args[-1]
    service_table.load(path)
    written: dict[str, Any] = json.loads(Path(path).read_text())
    return written


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_launcher_understands_the_table_and_starts_everything_in_order(
    options: NodeOptions, tmp_path: Path, host: str
) -> None:
    written = table(chosen(tmp_path, host=host))
    assert [service["name"] for service in written["services"]] == ["console", "nats", "manager", "api"]
    assert written["state_file"]["content"]["api_url"].startswith("http://127.0.0.1:")
    assert (options.settings.data_dir / "run" / "services.json").stat().st_mode & 0o777 == 0o600


def test_a_second_start_is_the_same_node(options: NodeOptions) -> None:
    first, second = table(options), table(options)
    assert first["installation"] == second["installation"]
    ids = [service["env"]["AGENT_MANAGER_NODE_ID"] for t in (first, second) for service in t["services"][2:3]]
    assert ids[0] == ids[1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"packages_dir": Path("/nowhere/packages")}, "does not exist; make it"),
        ({"data_dir": Path("/tmp/\udcff")}, "--data-dir .* is not UTF-8"),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_do(
    options: NodeOptions, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        become_node(chosen(tmp_path, **changes))
    assert not options.settings.data_dir.exists()


def test_a_file_in_the_place_of_the_data_directory_is_named_as_one(options: NodeOptions, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    words = r"the data directory .*/file is a file, not a directory; name another with --data-dir"
    with pytest.raises(DataDirectoryError, match=f"^{words}$"):
        become_node(chosen(tmp_path, data_dir=file))
    words = r".*/file, above the data directory, is a file, not a directory; name another with --data-dir"
    with pytest.raises(DataDirectoryError, match=f"^{words}$"):
        become_node(chosen(tmp_path, data_dir=file / "below" / "data"))
    file.unlink()
    file.symlink_to(tmp_path / "gone")
    with pytest.raises(DataDirectoryError, match=r"the data directory .*/file is not a directory; name another"):
        become_node(chosen(tmp_path, data_dir=file))


def test_a_node_whose_output_would_have_nowhere_to_go_is_not_started(options: NodeOptions) -> None:
    options.settings.data_dir.mkdir()
    (options.settings.data_dir / "logs").touch()
    with pytest.raises(DataDirectoryError, match=r"cannot be used: .*: '.*/logs/services'; name another"):
        become_node(options)


def test_a_node_that_runs_is_not_disturbed(options: NodeOptions) -> None:
    options.settings.data_dir.mkdir()
    with (options.settings.data_dir / "launcher.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(AlreadyRunningError, match="already running"):
            become_node(options)
    assert {path.name for path in options.settings.data_dir.iterdir()} == {"launcher.lock"}


def test_api_and_nats_server_need_a_port_each(options: NodeOptions, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="--port and --nats-port are both 18333"):
        become_node(chosen(tmp_path, port=18333, nats_port=18333))


def test_the_managers_metrics_need_a_port_of_their_own(options: NodeOptions, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match=r"--nats-port and metrics.port are both 18333"):
        become_node(chosen(tmp_path, nats_port=18333, metrics={"port": 18333}))


def test_a_free_port_of_the_metrics_is_chosen_once_for_every_manager(options: NodeOptions) -> None:
    written = table(options)
    port = environment(written, "manager")["AGENT_MANAGER_METRICS_PORT"]
    assert int(port) > 0
    assert written["state_file"]["content"]["metrics_url"] == f"http://127.0.0.1:{port}/metrics"


def test_a_port_of_the_metrics_that_is_taken_stops_the_start(options: NodeOptions, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match=rf"{port}: another program does.*metrics.port or --metrics-port"):
            become_node(chosen(tmp_path, metrics={"port": port}))


def test_metrics_that_are_switched_off_have_no_port(options: NodeOptions, tmp_path: Path) -> None:
    written = table(chosen(tmp_path, metrics={"enabled": False}))
    assert "AGENT_MANAGER_METRICS_PORT" not in environment(written, "manager")
    assert "metrics_url" not in written["state_file"]["content"]


def test_a_path_that_a_database_url_cannot_hold_is_refused(options: NodeOptions, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="question mark"):
        become_node(chosen(tmp_path, data_dir=tmp_path / "what?"))


def environment(written: dict[str, Any], name: str) -> dict[str, str]:
    (found,) = [service["env"] for service in written["services"] if service["name"] == name]
    return dict(found)


def test_the_manager_hears_who_it_is_and_where_its_own_server_is(options: NodeOptions, tmp_path: Path) -> None:
    manager = environment(table(options), "manager")
    assert manager["AGENT_MANAGER_DATA_DIR"] == str(tmp_path / "data")
    assert manager["AGENT_MANAGER_NATS_URL"].startswith("nats://127.0.0.1:")
    assert Path(manager["AGENT_MANAGER_NATS_SIGNING_KEY"]).is_file()
    assert manager["AGENT_MANAGER_NATS_ACCOUNT"].startswith("A")


def test_where_the_settings_name_a_server_none_is_run(options: NodeOptions, tmp_path: Path) -> None:
    nats = {"url": ["nats://bus:4222"], "user": "me", "password": "secret"}
    written = table(chosen(tmp_path, nats=nats))
    assert [service["name"] for service in written["services"]] == ["console", "manager", "api"]
    assert written["state_file"]["content"]["nats_url"] == "nats://bus:4222"
    api = environment(written, "api")
    assert api["MANAGEMENT_API_NATS_URL"] == "nats://bus:4222"
    assert api["MANAGEMENT_API_NATS_PASSWORD"] == "secret"


def test_as_a_service_there_is_neither_console_nor_api_and_the_log_goes_to_standard_error(
    options: NodeOptions, tmp_path: Path
) -> None:
    written = table(chosen(tmp_path, api=False, nats={"url": ["nats://bus:4222"]}))
    assert [(service["name"], service["output"]) for service in written["services"]] == [("manager", "inherit")]
    assert "api_url" not in written["state_file"]["content"]


def test_a_hangup_ends_what_a_person_watches_and_makes_a_service_read_its_settings_again(
    options: NodeOptions, tmp_path: Path
) -> None:
    watched, service = table(options), table(chosen(tmp_path, api=False, nats={"url": ["nats://bus:4222"]}))
    assert (watched["hangup"], service["hangup"]) == ("stop", "reload")
    [manager] = service["services"]
    assert manager["reload_signal"] == "SIGHUP"


def test_the_flag_for_the_log_is_meant_for_the_api_too_and_the_managers_setting_is_not(
    options: NodeOptions, tmp_path: Path
) -> None:
    quiet = chosen(tmp_path, service={"log_level": "ERROR"})
    assert "MANAGEMENT_API_SERVICE_LOG_LEVEL" not in environment(table(quiet), "api")
    flagged = replace(quiet, given={**quiet.given, "AGENT_MANAGER_SERVICE_LOG_LEVEL": "DEBUG"})
    assert environment(table(flagged), "api")["MANAGEMENT_API_SERVICE_LOG_LEVEL"] == "DEBUG"
