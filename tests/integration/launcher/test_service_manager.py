"""A service manager such as systemd is told how the node does, and nothing below the launcher can speak for it."""

import signal
import time
import uuid
from pathlib import Path

import pytest

from tests.harness.launcher import manager_service, running_launcher, service
from tests.harness.notify_socket import NotifySocket
from tests.harness.waiting import wait_until

_WATCHDOG_US = "200000"

_COUNTS_HANGUPS = "trap 'echo again' HUP; echo ready; while :; do sleep 0.01; done"


def _loud(name: str, **changes: object) -> dict[str, object]:
    return service(name, "sh", "-c", _COUNTS_HANGUPS, **changes)


def test_it_is_told_of_the_start_of_readiness_once_all_services_are_ready_and_of_the_end(tmp_path: Path) -> None:
    with (
        NotifySocket(tmp_path / "notify") as above,
        running_launcher(
            tmp_path, service("first", "sleep", "1000"), manager_service(tmp_path), env=above.environment()
        ) as launcher,
    ):
        manager = launcher.manager
        wait_until(lambda: above.values("STATUS") == ["Starting first", "Starting manager"])
        assert above.values("READY") == []
        manager.ask("ready")
        wait_until(lambda: above.messages[-1] == {"READY": "1", "STATUS": "All services are ready"})
        assert launcher.stop() == 0
        assert above.values("STATUS")[3:] == ["Stopping", "Stopping manager", "Stopping first"]
        assert above.values("STOPPING") == ["1"]
        assert above.values("WATCHDOG") == []
        assert launcher.warnings == ""


def test_an_abstract_socket_is_reached(tmp_path: Path) -> None:
    with (
        NotifySocket(f"@{uuid.uuid4()}") as above,
        running_launcher(tmp_path, service("a", "sleep", "1000"), env=above.environment()),
    ):
        wait_until(lambda: above.values("READY"))


def test_a_long_stop_asks_for_patience_from_its_first_moment(tmp_path: Path) -> None:
    with (
        NotifySocket(tmp_path / "notify") as above,
        running_launcher(tmp_path, env=above.environment(), stop_timeout_s=1000.0) as launcher,
    ):
        manager = launcher.manager
        launcher.process.terminate()
        manager.expect("shutdown")
        assert int(above.values("EXTEND_TIMEOUT_USEC")[0]) >= 10_000_000


def test_the_watchdog_hears_of_a_loop_that_lives_and_again_of_one_that_was_held_up(tmp_path: Path) -> None:
    with (
        NotifySocket(tmp_path / "notify") as above,
        running_launcher(
            tmp_path, service("a", "sleep", "1000"), env=above.environment(WATCHDOG_USEC=_WATCHDOG_US)
        ) as launcher,
    ):
        wait_until(lambda: len(above.values("WATCHDOG")) >= 3)
        launcher.process.send_signal(signal.SIGSTOP)
        heard = len(above.values("WATCHDOG"))
        launcher.process.send_signal(signal.SIGCONT)
        wait_until(lambda: len(above.values("WATCHDOG")) > heard)


def test_a_watchdog_meant_for_another_process_is_left_alone(tmp_path: Path) -> None:
    with (
        NotifySocket(tmp_path / "notify") as above,
        running_launcher(
            tmp_path,
            service("a", "sleep", "1000"),
            env=above.environment(WATCHDOG_USEC=_WATCHDOG_US, WATCHDOG_PID="1"),
        ) as launcher,
    ):
        wait_until(lambda: above.values("READY"))
        launcher.process.terminate()
        assert launcher.process.wait(30) == 0
        assert above.values("WATCHDOG") == []


@pytest.mark.parametrize("output", ["log", "inherit"])
def test_nothing_below_the_launcher_learns_how_to_speak_for_it(tmp_path: Path, output: str) -> None:
    named = "NOTIFY_SOCKET=/x WATCHDOG_PID=1 WATCHDOG_USEC=5"
    env = dict(entry.split("=") for entry in named.split())
    asks = service("asks", "sh", "-c", "env > env; exec sleep 1000", cwd=str(tmp_path), output=output)
    asks["env"] |= env
    with (
        NotifySocket(tmp_path / "notify") as above,
        running_launcher(
            tmp_path, asks, manager_service(tmp_path), env=above.environment(WATCHDOG_USEC=_WATCHDOG_US)
        ) as launcher,
    ):
        launcher.manager.ask("ready")
        seen = wait_until(lambda: (tmp_path / "env").exists() and (tmp_path / "env").read_text())
        below = [*launcher.processes(), launcher.pump]
        assert len(below) >= 3
        assert "AGENT_MANAGER_RUN" in seen
        assert not [name for name in env if name in seen]
        assert not [name for name in env for process in below if name in process.environ()]


def test_a_hangup_that_means_reload_reaches_those_who_can_and_is_over_at_once(tmp_path: Path) -> None:
    can, cannot = _loud("can", reload_signal="SIGHUP"), _loud("cannot")
    with (
        NotifySocket(tmp_path / "notify") as above,
        running_launcher(tmp_path, can, cannot, env=above.environment(), hangup="reload") as launcher,
    ):
        wait_until(lambda: launcher.log("can.log") == launcher.log("cannot.log") == "ready\n" and launcher.state)
        pids = launcher.state["pids"]
        before = time.monotonic_ns() // 1000
        launcher.process.send_signal(signal.SIGHUP)
        wait_until(lambda: launcher.log("can.log") == "ready\nagain\n")
        reloading, ready = above.messages[-2:]
        assert reloading["RELOADING"] == "1"
        assert before <= int(reloading["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
        assert ready["READY"] == "1"
        assert launcher.log("cannot.log") == "ready\n"
        assert launcher.state["pids"] == pids


def test_a_reload_during_the_start_neither_ends_what_is_starting_nor_claims_that_all_is_ready(tmp_path: Path) -> None:
    waits = manager_service(tmp_path, reload_signal="SIGHUP")
    with (
        NotifySocket(tmp_path / "notify") as above,
        running_launcher(
            tmp_path, _loud("first", reload_signal="SIGHUP"), waits, env=above.environment(), hangup="reload"
        ) as launcher,
    ):
        manager = launcher.manager
        wait_until(lambda: launcher.log("first.log") == "ready\n")
        launcher.process.send_signal(signal.SIGHUP)
        wait_until(lambda: launcher.log("first.log") == "ready\nagain\n")
        assert above.values("READY") == above.values("RELOADING") == []
        manager.ask("ready")
        wait_until(lambda: above.values("READY"))
        assert len(launcher.managers) == 1


def test_a_reload_during_the_end_leaves_it_the_end(tmp_path: Path) -> None:
    with (
        NotifySocket(tmp_path / "notify") as above,
        running_launcher(tmp_path, env=above.environment(), hangup="reload") as launcher,
    ):
        manager = launcher.manager
        manager.ask("ready")
        wait_until(lambda: above.values("READY"))
        launcher.process.terminate()
        manager.expect("shutdown")
        launcher.process.send_signal(signal.SIGHUP)
        manager.leave()
        assert launcher.process.wait(30) == 0
        assert len(above.values("READY")) == 1
        assert above.values("RELOADING") == []


def test_what_it_could_not_take_at_first_it_is_told_later(tmp_path: Path) -> None:
    address = tmp_path / "notify"
    with running_launcher(
        tmp_path, service("a", "sleep", "1000"), env={"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": _WATCHDOG_US}
    ) as launcher:
        assert launcher.state
        wait_until(lambda: launcher.warnings)
        with NotifySocket(address) as above:
            wait_until(lambda: above.values("READY"))
            assert above.values("STATUS") == ["Starting a", "All services are ready"]
        assert launcher.warnings.count("service manager: ") == 1


@pytest.mark.parametrize(
    ("env", "complaint"),
    [
        ({"NOTIFY_SOCKET": "vsock:2:1234"}, "NOTIFY_SOCKET 'vsock:2:1234' is neither a path nor an abstract name"),
        ({"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "soon"}, "WATCHDOG_USEC 'soon' is not a number of microseconds"),
    ],
)
def test_what_it_does_not_understand_is_a_warning(tmp_path: Path, env: dict[str, str], complaint: str) -> None:
    with running_launcher(tmp_path, service("a", "sleep", "1000"), env=env) as launcher:
        assert launcher.state
        assert complaint in launcher.warnings
