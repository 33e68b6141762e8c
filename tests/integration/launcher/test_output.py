"""Output ends up in files, whatever happens to the pump, the disk or the launcher's peers."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.harness.launcher import NODE_PYTHON, RequestRefused, RunningLauncher, running_launcher
from tests.harness.waiting import wait_until


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[RunningLauncher]:
    with running_launcher(tmp_path) as launcher:
        yield launcher


def _has_written(launcher: RunningLauncher, text: str, log: str = "a.out") -> bool:
    return text in launcher.log(log)


def _finish(launcher: RunningLauncher, slot: str, *argv: str, **changes: Any) -> None:
    """Run a launch until its output is saved."""
    launcher.spawn(slot, "l1", *argv, **changes)
    launcher.manager.expect("drained", slot=slot)


def test_output_and_errors_go_to_their_files(launcher: RunningLauncher) -> None:
    _finish(launcher, "a", "sh", "-c", "echo to out; echo to err >&2")
    assert (launcher.log("a.out"), launcher.log("a.err")) == ("to out\n", "to err\n")
    modes = [(launcher.directory / "logs" / name).stat().st_mode & 0o777 for name in (".", "a.out")]
    assert modes == [0o750, 0o640]


def test_output_and_errors_may_share_a_file_in_order(launcher: RunningLauncher) -> None:
    log = {"path": str(launcher.directory / "logs" / "both"), "max_bytes": 1000, "files": 2}
    script = "for i in 1 2 3; do echo out $i; echo err $i >&2; done"
    _finish(launcher, "a", "sh", "-c", script, output={"out": log, "err": log})
    lines = ["out 1", "err 1", "out 2", "err 2", "out 3", "err 3"]
    assert launcher.log("both").splitlines() == lines
    assert launcher.manager.expect("drained")["exit"]["last_lines"] == {"out": lines}


def test_all_output_before_the_exit_is_saved_when_drained(launcher: RunningLauncher) -> None:
    for number in range(10):
        _finish(launcher, f"s{number}", "sh", "-c", "head -c 50000 /dev/zero; echo end")
        assert launcher.log(f"s{number}.out").endswith("end\n")
        assert len(launcher.log(f"s{number}.out")) == 50004


def test_last_lines_are_those_of_each_stream_and_of_one_launch(launcher: RunningLauncher) -> None:
    _finish(launcher, "a", "sh", "-c", "echo first; seq 9 >&2")
    launcher.spawn("a", "l2", "sh", "-c", "printf second", expected_launch_id="l1")
    said = [launcher.manager.expect("drained", launch_id=name)["exit"]["last_lines"] for name in ("l1", "l2")]
    assert said == [{"out": ["first"], "err": list("123456789")}, {"out": ["second"], "err": []}]


def test_last_lines_of_a_flood_are_its_end(launcher: RunningLauncher) -> None:
    _finish(launcher, "a", "seq", "100000")
    last_lines = launcher.manager.expect("drained")["exit"]["last_lines"]["out"]
    assert last_lines == [str(number) for number in range(100001 - len(last_lines), 100001)]
    assert len("\n".join(last_lines)) < 2048


def test_a_flood_is_never_blocked_and_stays_within_its_files(launcher: RunningLauncher) -> None:
    size = 200 << 20
    _finish(launcher, "a", "sh", "-c", f"head -c {size} /dev/zero; echo the end")
    files = sorted((launcher.directory / "logs").glob("a.out*"))
    assert [file.name for file in files] == ["a.out", "a.out.1", "a.out.2"]
    assert all(file.stat().st_size <= 1 << 20 for file in files)
    assert launcher.log("a.out").endswith("the end\n")


def test_a_flood_delays_nobody_else(launcher: RunningLauncher) -> None:
    for number in range(4):
        launcher.spawn(f"flood{number}", f"f{number}", "cat", "/dev/zero")
    _finish(launcher, "a", "echo", "hello")
    assert launcher.log("a.out") == "hello\n"


def test_output_goes_on_when_the_pump_is_killed(launcher: RunningLauncher) -> None:
    program = "import time\nfor i in range(100): print(i, flush=True); time.sleep(0.01)"
    launcher.spawn("a", "l1", *NODE_PYTHON, "-c", program)
    for seen in ("\n5\n", "\n40\n"):
        wait_until(partial(_has_written, launcher, seen))
        launcher.pump.kill()
    launcher.manager.expect("drained")
    assert launcher.log("a.out").endswith("\n98\n99\n")
    assert len(launcher.log("a.out").split()) >= 98  # a pump dies with one read at most
    assert "log pump: ended with signal 9" in launcher.warnings


def test_drained_waits_for_the_next_pump(launcher: RunningLauncher) -> None:
    launcher.pump.suspend()
    launcher.spawn("a", "l1", "echo", "hello")
    launcher.manager.expect("empty")
    assert launcher.manager.of_type("drained") == []
    launcher.pump.kill()
    launcher.manager.expect("drained")
    assert launcher.log("a.out") == "hello\n"


@pytest.mark.parametrize("path", ["/proc/no/such.log", "/dev/null/a.log", "/" + "x" * 300, "/tmp"])
def test_a_bad_path_costs_its_output_only(launcher: RunningLauncher, path: str) -> None:
    log = {"path": path, "max_bytes": 1000, "files": 2}
    pump = launcher.pump
    _finish(launcher, "bad", "head", "-c", "1000000", "/dev/zero", output={"out": log, "err": log})
    launcher.manager.expect("empty", slot="bad")
    assert launcher.manager.expect("drained", slot="bad")["exit"]["last_lines"] == {"out": ["\0" * 2048]}
    launcher.spawn("good", "l2", "echo", "hello")
    launcher.manager.expect("drained", slot="good")
    assert launcher.log("good.out") == "hello\n"
    assert pump.is_running()


def test_a_restarted_slot_continues_the_same_file_within_its_bounds(launcher: RunningLauncher) -> None:
    expected = None
    for number in range(10):
        launcher.spawn("a", f"l{number}", "sh", "-c", "head -c 500000 /dev/zero", expected_launch_id=expected)
        expected = f"l{number}"
        launcher.manager.expect("empty", launch_id=expected)
    launcher.manager.expect("drained", launch_id=expected)
    sizes = [file.stat().st_size for file in (launcher.directory / "logs").glob("a.out*")]
    assert max(sizes) == 1 << 20
    assert len(sizes) == 3


def _spawn_until_refused(launcher: RunningLauncher) -> tuple[list[int], str]:
    """The pids of what could be started, and why no more could."""
    pids: list[int] = []
    try:
        while True:
            number = len(pids)
            pids.append(launcher.spawn(f"s{number}", f"l{number}", "sh", "-c", "echo hello; exec sleep 1000"))
    except RequestRefused as refused:
        return pids, refused.message


def test_launches_beyond_the_limit_of_descriptors_are_refused_and_the_others_go_on(tmp_path: Path) -> None:
    with running_launcher(tmp_path, descriptor_limit=64) as launcher:
        pids, reason = _spawn_until_refused(launcher)
        assert reason == "output failed: [Errno 24] Too many open files"
        assert pids
        for number, pid in enumerate(pids):
            wait_until(partial(_has_written, launcher, "hello\n", f"s{number}.out"))
            psutil.Process(pid).kill()
            launcher.manager.expect("drained", slot=f"s{number}")
            launcher.manager.expect("empty", slot=f"s{number}")
        assert launcher.warnings == ""


def test_pipes_are_closed_when_their_launch_is_over(launcher: RunningLauncher) -> None:
    _finish(launcher, "first", "true")
    processes = [psutil.Process(launcher.process.pid), launcher.pump]
    before = [process.num_fds() for process in processes]
    for number in range(20):
        launcher.spawn(f"s{number}", f"s{number}", "true")
        launcher.manager.expect("drained", slot=f"s{number}")
        launcher.manager.expect("empty", slot=f"s{number}")
    wait_until(lambda: [process.num_fds() for process in processes] <= before)
