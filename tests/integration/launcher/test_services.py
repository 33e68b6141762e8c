"""Services are started in order, kept running, and described in the state file."""

import json
import socket
from pathlib import Path

import psutil
import pytest

from tests.harness.launcher import NODE_PYTHON, manager_service, process_in, running_launcher, service, start_process
from tests.harness.waiting import wait_until

_SERVE = """
import os, socket, sys, time
open(sys.argv[2], "w").write(str(time.monotonic()))
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    listener.accept()[0].close()
"""


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def test_each_service_waits_until_the_one_before_it_is_ready(tmp_path: Path) -> None:
    port = _free_port()
    go = tmp_path / "go"
    slow = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.01)\n{_SERVE}"
    tcp = service(
        "tcp",
        *NODE_PYTHON,
        "-c",
        slow,
        str(port),
        str(tmp_path / "tcp.at"),
        ready={"kind": "tcp", "host": "127.0.0.1", "port": port},
    )
    with running_launcher(tmp_path, tcp, manager_service(tmp_path), service("last", "sleep", "1000")) as launcher:
        wait_until(lambda: psutil.Process(launcher.process.pid).children())
        assert launcher.managers == []
        go.touch()
        manager = launcher.manager
        assert not (tmp_path / "up.json").exists()
        manager.ask("ready")
        state = launcher.state
        assert state["api_url"] == "http://localhost"
        assert state["pids"]["launcher"] == launcher.process.pid
        assert psutil.Process(state["pids"]["last"]).name() == "sleep"
        assert (tmp_path / "up.json").stat().st_mode & 0o777 == 0o600


def test_a_service_that_ends_is_restarted_and_the_state_file_says_so(tmp_path: Path) -> None:
    with running_launcher(tmp_path, service("a", "sleep", "1000"), service("b", "sleep", "1000")) as launcher:
        first = launcher.state["pids"]
        psutil.Process(first["a"]).kill()
        wait_until(lambda: launcher.state["pids"]["a"] != first["a"])
        assert launcher.state["pids"]["b"] == first["b"]
        assert "service a: ended with signal 9; starts again in 0.0 s" in launcher.warnings


def test_a_service_that_keeps_failing_is_restarted_ever_later(tmp_path: Path) -> None:
    failing = service("bad", "sh", "-c", "echo attempt; exit 3")
    missing = service("missing", "/no/such/program")
    with running_launcher(tmp_path, failing, missing) as launcher:
        wait_until(lambda: launcher.log("bad.log").count("attempt") >= 4)
        for delay in ("0.0", "0.1", "0.2"):
            assert f"service bad: ended with exit code 3; starts again in {delay} s" in launcher.warnings
        assert "service missing: could not be started: exec failed: '/no/such/program'" in launcher.warnings


def test_output_and_errors_of_a_service_share_its_log(tmp_path: Path) -> None:
    with running_launcher(tmp_path, service("a", "sh", "-c", "echo one; echo two >&2; exec sleep 1000")) as launcher:
        wait_until(lambda: launcher.log("a.log") == "one\ntwo\n")


def test_output_may_be_the_launchers_own(tmp_path: Path) -> None:
    loud = service("loud", "sh", "-c", "echo hello >&2; exec sleep 1000", output="inherit")
    with running_launcher(tmp_path, loud) as launcher:
        wait_until(lambda: launcher.warnings == "hello\n")


def test_what_a_service_leaves_in_its_group_dies_with_it(tmp_path: Path) -> None:
    parent = service("parent", "sh", "-c", f"sleep 1000 & echo $! > {tmp_path}/child; exec sleep 1000")
    with running_launcher(tmp_path, parent) as launcher:
        pid = launcher.state["pids"]["parent"]
        child = process_in(tmp_path / "child")
        psutil.Process(pid).kill()
        wait_until(lambda: not child.is_running())


def test_instances_are_served_while_services_start(tmp_path: Path) -> None:
    never = service("never", "sleep", "1000", ready={"kind": "tcp", "host": "127.0.0.1", "port": _free_port()})
    with running_launcher(tmp_path, manager_service(tmp_path), never) as launcher:
        launcher.manager.ask("ready")
        launcher.spawn("a", "l1", "true")
        launcher.manager.expect("empty")
        assert not (tmp_path / "up.json").exists()


def test_an_idle_launcher_wakes_up_every_ten_seconds_only(tmp_path: Path) -> None:
    with running_launcher(tmp_path, service("idle", "sleep", "1000")) as launcher:
        assert launcher.state
        system_call = Path(f"/proc/{launcher.process.pid}/syscall")
        # epoll_wait(descriptor, events, size, timeout in milliseconds): the log pump is asked whether it does something
        wait_until(lambda: [int(each, 16) > 9_000 for each in system_call.read_text().split()[4:5]] == [True])


def test_a_second_launcher_of_an_installation_refuses_to_start(tmp_path: Path) -> None:
    with running_launcher(tmp_path, service("a", "sleep", "1000")) as launcher:
        state = launcher.state
        second = start_process(tmp_path, launcher.table)
        assert second.wait(20) == 2
        assert "launcher.lock is locked" in launcher.warnings
        assert launcher.state == state


@pytest.mark.parametrize("content", ["", "{}", json.dumps({"protocol": 9})])
def test_a_table_that_cannot_be_used_is_refused(tmp_path: Path, content: str) -> None:
    process = start_process(tmp_path, json.loads(content or "[]"))
    assert process.wait(20) == 2
    assert "service table" in (tmp_path / "launcher.err").read_text()
