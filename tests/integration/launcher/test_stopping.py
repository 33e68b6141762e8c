"""The launcher stops everything in order, and by force what does not stop by itself."""

import re
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.harness.launcher import (
    NODE_PYTHON,
    ManagerConnection,
    RunningLauncher,
    has_ended,
    manager_service,
    process_in,
    running_launcher,
    service,
)
from tests.harness.waiting import wait_until

_NOTES_ITS_END = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
try:
    open(sys.argv[1] + ".started", "w").close()
    while True: signal.pause()
finally:
    with open(sys.argv[2], "a") as file: file.write(sys.argv[1] + " ")
"""

_IGNORES_SIGTERM = "trap '' TERM; echo deaf; while :; do sleep 1000; done"


def _noting(directory: Path, name: str) -> tuple[str, ...]:
    return (*NODE_PYTHON, "-c", _NOTES_ITS_END, str(directory / name), str(directory / "ends"))


def _ends(directory: Path) -> list[str]:
    """The names of what has ended by itself, in order."""
    return [Path(entry).name for entry in (directory / "ends").read_text().split()]


def _is_noting(directory: Path, *names: str) -> bool:
    return all((directory / f"{name}.started").exists() for name in names)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_services_stop_in_reverse_order(tmp_path: Path, number: signal.Signals) -> None:
    names = ("first", "second", "third")
    services = [service(name, *_noting(tmp_path, name)) for name in names]
    with running_launcher(tmp_path, *services) as launcher:
        wait_until(lambda: _is_noting(tmp_path, *names) and (tmp_path / "up.json").exists())
        launcher.process.send_signal(number)
        assert launcher.process.wait(30) == 0
        assert _ends(tmp_path) == ["third", "second", "first"]
        assert not (tmp_path / "up.json").exists()
        assert launcher.warnings == ""
        assert launcher.processes() == []


def test_the_manager_stops_its_instances_before_the_services_under_it_stop(tmp_path: Path) -> None:
    below, above = (service(name, *_noting(tmp_path, name)) for name in ("below", "above"))
    with running_launcher(tmp_path, below, manager_service(tmp_path), above) as launcher:
        launcher.manager.ask("ready")
        launcher.spawn("a", "l1", *_noting(tmp_path, "instance"))
        wait_until(lambda: _is_noting(tmp_path, "below", "above", "instance"))

        def stop_instance(manager: ManagerConnection) -> None:
            manager.ask("signal", slot="a", launch_id="l1", signal="SIGTERM", scope="tree")
            manager.expect("empty")
            manager.leave()

        assert launcher.stop(then=stop_instance) == 0
        assert _ends(tmp_path) == ["above", "instance", "below"]


def test_instances_a_manager_leaves_behind_are_stopped(tmp_path: Path) -> None:
    with running_launcher(tmp_path) as launcher:
        launcher.spawn("a", "l1", *_noting(tmp_path, "instance"))
        wait_until(lambda: _is_noting(tmp_path, "instance"))
        assert launcher.stop() == 0
        assert _ends(tmp_path) == ["instance"]


def test_a_deaf_instance_is_killed_in_the_end(tmp_path: Path) -> None:
    with running_launcher(tmp_path) as launcher:
        launcher.spawn("a", "l1", "sh", "-c", _IGNORES_SIGTERM)
        wait_until(lambda: launcher.log("a.out") == "deaf\n")
        assert launcher.stop() == 0


def test_a_deaf_service_is_killed_after_its_time(tmp_path: Path) -> None:
    deaf = service("deaf", "sh", "-c", _IGNORES_SIGTERM, stop_timeout_s=0.2)
    with running_launcher(tmp_path, deaf) as launcher:
        wait_until(lambda: launcher.log("deaf.log") == "deaf\n")
        launcher.process.terminate()
        assert launcher.process.wait(30) == 0


def _crash(launcher: RunningLauncher, manager_pid: int) -> None:
    launcher.process.terminate()
    launcher.manager.expect("shutdown", hurry=False)
    psutil.Process(manager_pid).kill()


def _hang(launcher: RunningLauncher, manager_pid: int) -> None:
    psutil.Process(manager_pid).suspend()
    launcher.process.terminate()


@pytest.mark.parametrize("fail", [_crash, _hang])
def test_a_manager_that_fails_while_stopping_is_not_replaced_and_delays_little(
    tmp_path: Path, fail: Callable[[RunningLauncher, int], None]
) -> None:
    below = service("below", *_noting(tmp_path, "below"))
    with running_launcher(tmp_path, below, manager_service(tmp_path, stop_timeout_s=0.5)) as launcher:
        launcher.manager.ask("ready")
        launcher.spawn("a", "l1", *_noting(tmp_path, "instance"))
        wait_until(lambda: _is_noting(tmp_path, "below", "instance"))
        fail(launcher, launcher.state["pids"]["manager"])
        assert launcher.process.wait(30) == 0
        assert _ends(tmp_path) == ["instance", "below"]
        assert len(launcher.managers) == 1


def test_a_second_signal_hurries(tmp_path: Path) -> None:
    deaf = service("deaf", "sh", "-c", _IGNORES_SIGTERM, stop_timeout_s=1000)
    patient = manager_service(tmp_path, stop_timeout_s=1000.0)
    with running_launcher(tmp_path, deaf, patient, stop_timeout_s=1000.0) as launcher:
        launcher.manager.ask("ready")
        launcher.spawn("a", "l1", "sh", "-c", _IGNORES_SIGTERM)
        wait_until(lambda: launcher.log("a.out") + launcher.log("deaf.log") == "deaf\ndeaf\n")
        for hurry in (False, True):
            launcher.process.terminate()
            launcher.manager.expect("shutdown", hurry=hurry)
        assert launcher.process.wait(30) == 0
        assert launcher.processes() == []


def test_a_stop_that_takes_too_long_hurries_by_itself(tmp_path: Path) -> None:
    patient = manager_service(tmp_path, stop_timeout_s=1000.0)
    with running_launcher(tmp_path, patient, stop_timeout_s=0.2) as launcher:
        manager = launcher.manager
        launcher.process.terminate()
        manager.expect("shutdown", hurry=False)
        manager.expect("shutdown", hurry=True)
        assert launcher.process.wait(30) == 0


def test_a_stop_while_services_start_stops_what_has_started(tmp_path: Path) -> None:
    never = service("never", *_noting(tmp_path, "never"), ready={"kind": "tcp", "host": "127.0.0.1", "port": 1})
    with running_launcher(tmp_path, never, service("later", *_noting(tmp_path, "later"))) as launcher:
        wait_until(lambda: _is_noting(tmp_path, "never"))
        launcher.process.terminate()
        assert launcher.process.wait(30) == 0
        assert _ends(tmp_path) == ["never"]
        assert not _is_noting(tmp_path, "later")


def test_a_stop_asked_for_before_the_launcher_can_listen_is_heeded_once_it_can(tmp_path: Path) -> None:
    earlier = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    try:
        with running_launcher(tmp_path, service("quiet", "sleep", "1000")) as launcher:
            launcher.process.send_signal(signal.SIGINT)
            assert launcher.process.wait(30) == 0
            assert launcher.warnings == ""
            assert launcher.processes() == []
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, earlier)


def test_what_services_have_lost_is_killed_at_the_end(tmp_path: Path) -> None:
    lost = tmp_path / "lost"
    loses = service("loses", "sh", "-c", f"setsid sh -c 'echo $$ > {lost}; exec sleep 1000' & wait")
    with running_launcher(tmp_path, loses) as launcher:
        process = process_in(lost)
        launcher.process.terminate()
        assert launcher.process.wait(30) == 0
        assert not process.is_running()


def test_all_output_is_saved_before_the_launcher_ends(tmp_path: Path) -> None:
    script = "trap 'head -c 60000 /dev/zero; echo bye; exit' TERM; echo ready; while :; do sleep 0.01; done"
    with running_launcher(tmp_path) as launcher:
        launcher.spawn("a", "l1", "sh", "-c", script)
        wait_until(lambda: launcher.log("a.out") == "ready\n")
        assert launcher.stop() == 0
        assert launcher.log("a.out").endswith("bye\n")


def test_a_pump_that_hangs_does_not_outlive_an_end_in_a_hurry_and_nothing_written_is_lost(tmp_path: Path) -> None:
    counts = f"i=0; while :; do i=$((i+1)); echo $i; [ $i = 20 ] && touch {tmp_path}/counted; sleep 0.1; done"
    with running_launcher(tmp_path) as launcher:
        launcher.spawn("a", "l1", "sh", "-c", counts)
        wait_until(lambda: launcher.log("a.out").endswith("5\n"))
        pump = launcher.pump
        pump.suspend()
        wait_until((tmp_path / "counted").exists)
        for _ in range(2):
            launcher.process.send_signal(signal.SIGINT)
            wait_until(lambda: not _is_pending(launcher.process.pid, signal.SIGINT))
        assert launcher.process.wait(30) == 0
        assert has_ended(pump)
        assert launcher.log("a.out").splitlines()[:20] == [str(number) for number in range(1, 21)]


def _is_pending(pid: int, number: signal.Signals) -> bool:
    (pending,) = re.findall(r"ShdPnd:\t([0-9a-f]+)", Path(f"/proc/{pid}/status").read_text())
    return bool(int(pending, 16) >> (number - 1) & 1)
