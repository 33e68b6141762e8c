"""What `agent-manager up` decides before it becomes the launcher."""

from __future__ import annotations

import fcntl
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent_manager.cli import up as node
from agent_manager.cli.up import AlreadyRunningError, DataDirectoryError, UpOptions
from agent_manager.domain.errors import InvalidRequestError
from agent_manager.launcher import service_table


class BecameTheLauncherError(Exception):
    """Instead of `execv`."""


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[UpOptions]:
    """Ports that are free. While the launcher takes over, signals are held back."""

    def execv(program: str, argv: list[str]) -> None:
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) >= {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
        raise BecameTheLauncherError(*argv)

    monkeypatch.setattr(os, "execv", execv)
    (tmp_path / "packages").mkdir()
    unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield UpOptions(
        data_dir=tmp_path / "data",
        packages_dir=tmp_path / "packages",
        host="127.0.0.1",
        port=0,
        nats_port=0,
        log_level="INFO",
    )
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == unblocked


def table(options: UpOptions) -> dict[str, Any]:
    with pytest.raises(BecameTheLauncherError) as became:
        node.up(options)
    path = became.value.args[-1]
    service_table.load(path)
    written: dict[str, Any] = json.loads(Path(path).read_text())
    return written


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_launcher_understands_the_table_and_starts_everything_in_order(options: UpOptions, host: str) -> None:
    written = table(replace(options, host=host))
    assert [service["name"] for service in written["services"]] == ["console", "nats", "manager", "api"]
    assert written["state_file"]["content"]["api_url"].startswith("http://127.0.0.1:")
    assert (options.data_dir / "run" / "services.json").stat().st_mode & 0o777 == 0o600


def test_a_second_start_is_the_same_node(options: UpOptions) -> None:
    first, second = table(options), table(options)
    assert first["installation"] == second["installation"]
    ids = [service["env"]["AGENT_MANAGER_NODE_ID"] for t in (first, second) for service in t["services"][2:3]]
    assert ids[0] == ids[1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"host": "0.0.0.0"}, "not a loopback address"),
        ({"host": "example.org"}, "not a loopback address"),
        ({"log_level": "LOUD"}, "--log-level LOUD is not one of DEBUG, INFO"),
        ({"packages_dir": Path("/nowhere/packages")}, "does not exist; make it"),
        ({"data_dir": Path("/tmp/\udcff")}, "--data-dir .* is not UTF-8"),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_do(options: UpOptions, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        node.up(replace(options, **changes))
    assert not options.data_dir.exists()


def test_a_data_directory_that_cannot_be_made_is_named(options: UpOptions, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataDirectoryError, match="name another with --data-dir"):
        node.up(replace(options, data_dir=tmp_path / "file" / "data"))


def test_a_node_that_runs_is_not_disturbed(options: UpOptions) -> None:
    options.data_dir.mkdir()
    with (options.data_dir / "launcher.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(AlreadyRunningError, match="already running"):
            node.up(options)
    assert {path.name for path in options.data_dir.iterdir()} == {"launcher.lock"}


def test_api_and_nats_server_need_a_port_each(options: UpOptions) -> None:
    with pytest.raises(InvalidRequestError, match="--port and --nats-port are both 18333"):
        node.up(replace(options, port=18333, nats_port=18333))


def test_a_path_that_a_database_url_cannot_hold_is_refused(options: UpOptions, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="question mark"):
        node.up(replace(options, data_dir=tmp_path / "what?"))
