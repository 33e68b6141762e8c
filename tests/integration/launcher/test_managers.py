"""Managers come and go; what they do not know yet, the next one is told."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.harness.launcher import (
    NODE_PYTHON,
    ManagerConnection,
    RunningLauncher,
    manager_service,
    running_launcher,
    service,
)
from tests.harness.waiting import wait_until


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[RunningLauncher]:
    with running_launcher(tmp_path) as launcher:
        launcher.manager.ask("ready")
        yield launcher


def _manager_process(launcher: RunningLauncher) -> psutil.Process:
    return psutil.Process(launcher.state["pids"]["manager"])


def _replace(launcher: RunningLauncher, end: Callable[[ManagerConnection], None] = ManagerConnection.leave) -> None:
    """End the manager and wait for the next one."""
    known = len(launcher.managers)
    end(launcher.manager)
    wait_until(lambda: len(launcher.managers) > known)


def test_instances_outlive_a_killed_manager_and_the_next_one_is_told_of_them(launcher: RunningLauncher) -> None:
    pids = {f"s{number}": launcher.spawn(f"s{number}", f"l{number}", "sleep", "1000") for number in range(5)}
    launcher.manager.ask("update", slot="s0", launch_id="l0", metadata={"changed": True}, not_after=1e12)
    _replace(launcher, lambda _manager: _manager_process(launcher).kill())
    hello = launcher.manager.hello
    assert {slot["slot"]: slot["pid"] for slot in hello["slots"]} == pids
    assert {slot["state"] for slot in hello["slots"]} == {"running"}
    assert [slot["metadata"] for slot in hello["slots"]][:2] == [{"changed": True}, {"of": "l1"}]
    assert hello["slots"][0]["not_after"] == 1e12
    assert launcher.spawn("s0", "l0", "sleep", "1000") == pids["s0"]
    assert [process.is_running() for process in map(psutil.Process, pids.values())] == [True] * 5


def test_exits_are_told_to_every_manager_until_they_are_acknowledged(launcher: RunningLauncher) -> None:
    launcher.spawn("a", "l1", "sh", "-c", "echo no; exit 4")
    exited = launcher.manager.expect("exited")["exit"]
    launcher.manager.expect("drained")
    launcher.manager.expect("empty")
    for _ in range(2):
        _replace(launcher)
        (slot,) = launcher.manager.hello["slots"]
        assert slot["state"] == "empty"
        assert slot["exits"] == [exited | {"last_lines": {"out": ["no"], "err": []}}]
    launcher.manager.ask("ack", slot="a", launch_id="l1")
    _replace(launcher)
    assert launcher.manager.hello["slots"][0]["exits"] == []


def test_last_lines_that_no_manager_heard_are_told_to_the_next(launcher: RunningLauncher) -> None:
    pump = launcher.pump
    pump.suspend()
    launcher.spawn("a", "l1", "sh", "-c", "echo why >&2; exit 3")
    launcher.manager.expect("exited")
    launcher.manager.ask("ack", slot="a", launch_id="l1")
    manager = _manager_process(launcher)
    manager.suspend()
    pump.resume()
    wait_until(lambda: "why" in launcher.log("a.err"))
    _replace(launcher, lambda _manager: manager.kill())
    (slot,) = launcher.manager.hello["slots"]
    told = slot["exits"][0]["last_lines"] or launcher.manager.expect("drained")["exit"]["last_lines"]
    assert told == {"out": [], "err": ["why"]}
    launcher.manager.ask("ack", slot="a", launch_id="l1")
    _replace(launcher)
    assert launcher.manager.hello["slots"][0]["exits"] == []


def test_an_exit_without_a_manager_is_told_to_the_next(launcher: RunningLauncher) -> None:
    manager = _manager_process(launcher)
    instance = launcher.spawn("a", "l1", "sleep", "1000")
    manager.suspend()
    psutil.Process(instance).kill()
    wait_until(lambda: not psutil.pid_exists(instance))
    _replace(launcher, lambda _manager: manager.kill())
    assert launcher.manager.hello["slots"][0]["exits"][0]["signal"] == signal.SIGKILL


def test_the_newest_sixteen_exits_are_kept(launcher: RunningLauncher) -> None:
    expected = None
    for number in range(18):
        launcher.spawn("a", f"l{number}", "true", expected_launch_id=expected)
        expected = f"l{number}"
        launcher.manager.expect("empty", launch_id=expected)
    _replace(launcher)
    (slot,) = launcher.manager.hello["slots"]
    assert [exit_["launch_id"] for exit_ in slot["exits"]] == [f"l{number}" for number in range(2, 18)]
    assert slot["exits_dropped"] == 2


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"\x00\x00\x00\x01{", "is not JSON"),
        (b"\xff\xff\xff\xff", "announces 4294967295 bytes"),
        (b"\x00\x00\x00\x02[]", "expected an object"),
        (b'\x00\x00\x00\x10{"type":"dance"}', "'dance' has no id"),
    ],
)
def test_a_manager_that_sends_nonsense_is_replaced(launcher: RunningLauncher, data: bytes, complaint: str) -> None:
    pid = launcher.spawn("a", "l1", "sleep", "1000")
    _replace(launcher, lambda manager: manager.peer.sendall(data))
    assert launcher.manager.hello["slots"][0]["pid"] == pid
    assert complaint in launcher.warnings


def test_a_manager_that_hangs_is_replaced(tmp_path: Path) -> None:
    rules = {"kind": "controller", "hang_timeout_s": 2.5, "start_timeout_s": 30.0}
    with running_launcher(tmp_path, manager_service(tmp_path) | {"ready": rules}) as launcher:
        launcher.manager.ask("ready")
        launcher.manager.expect("ping")
        launcher.manager.ask("release", slot="none")  # so the pong has been read as well
        hanging = _manager_process(launcher)
        _replace(launcher, lambda _manager: hanging.suspend())
        assert not hanging.is_running()
        assert "no pong for 4 s" in launcher.warnings


def test_a_manager_that_never_answers_a_ping_is_replaced(tmp_path: Path) -> None:
    rules = {"kind": "controller", "hang_timeout_s": 60.0, "start_timeout_s": 0.3}
    silent = manager_service(tmp_path) | {"ready": rules}
    with running_launcher(tmp_path, silent, answers_pings=False) as launcher:
        wait_until(lambda: len(launcher.managers) >= 2)
        assert "no pong for 2 s" in launcher.warnings


_CLOSES_FIRST = """
import os, pathlib, sys
os.close(3)
if not os.path.exists(sys.argv[1]):
    pathlib.Path(sys.argv[1]).touch()
    sys.stdout.write("and this is why\\n" * 1000)
    sys.exit(7)
print("stays", flush=True)
import signal; signal.pause()
"""


def test_a_manager_that_closes_the_connection_may_say_why_and_is_killed_if_it_stays(tmp_path: Path) -> None:
    dying = manager_service(tmp_path) | {"argv": [*NODE_PYTHON, "-c", _CLOSES_FIRST, str(tmp_path / "been here")]}
    with running_launcher(tmp_path, dying) as launcher:
        wait_until(lambda: "service manager: ended with exit code 7" in launcher.warnings)
        wait_until(lambda: launcher.log("manager.log").count("and this is why\n") == 1000)
        wait_until(lambda: "stays" in launcher.log("manager.log"))
        wait_until(lambda: "service manager: ended with signal 9" in launcher.warnings)


_NEVER_READS = """
import json, pathlib, signal, socket, sys
launcher = socket.socket(fileno=3)
for number in range(20_000):
    body = json.dumps({"type": "release", "id": number, "slot": "a"}).encode()
    launcher.sendall(len(body).to_bytes(4, "big") + body)
pathlib.Path(sys.argv[1]).touch()
signal.pause()
"""


def test_a_manager_that_does_not_read_blocks_nothing(tmp_path: Path) -> None:
    all_sent = tmp_path / "all sent"
    rude = manager_service(tmp_path) | {"argv": [*NODE_PYTHON, "-c", _NEVER_READS, str(all_sent)]}
    with running_launcher(tmp_path, service("other", "sleep", "1000"), rude) as launcher:
        wait_until(all_sent.exists)
        (other,) = (child for child in psutil.Process(launcher.process.pid).children() if child.name() == "sleep")
        other.kill()
        wait_until(lambda: "service other: ended with signal 9" in launcher.warnings)
