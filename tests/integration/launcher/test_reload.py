"""The launcher gives its place to the installed version, and nobody below it notices."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from agent_manager.launcher import handover
from tests.harness.launcher import (
    RunningLauncher,
    has_ended,
    manager_service,
    running_launcher,
    runs,
    service,
)
from tests.harness.waiting import wait_until

_PATH = {"PATH": os.environ["PATH"]}
_FORKED = {"zygote": {"env": _PATH, "preload": ["json"]}}
_HANDED_OVER = Path(__file__).parent / "handovers"
_CHATTERING = "import time\nwhile True:\n    print(time.time(), flush=True)\n    time.sleep(0.01)"


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[RunningLauncher]:
    kept = service("kept", "sleep", "1000", kept=True)
    replaced = service("replaced", "sleep", "1000")
    with running_launcher(tmp_path, kept, manager_service(tmp_path), replaced) as launcher:
        launcher.manager.ask("ready")
        yield launcher


def _script(launcher: RunningLauncher, text: str) -> str:
    path = launcher.directory / "agent.py"
    path.write_text(text)
    return str(path)


def _reloaded(launcher: RunningLauncher) -> None:
    """Reload, and have the next manager say that it is ready."""
    before = launcher.managers[-1]
    reloads = launcher.state["reloads"]
    launcher.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: launcher.managers[-1] is not before, 60.0)
    launcher.manager.ask("ready")
    wait_until(lambda: launcher.state["reloads"] == reloads + 1, 60.0)


def test_instances_and_what_is_kept_run_on_and_the_rest_is_new(launcher: RunningLauncher) -> None:
    script = _script(launcher, _CHATTERING)
    pids = {
        "executed": launcher.spawn("executed", "executed", sys.executable, script),
        "forked": launcher.spawn("forked", "forked", sys.executable, script, **_FORKED),
    }
    before, pump = launcher.state["pids"], launcher.pump
    for count in range(1, 4):
        _reloaded(launcher)
        assert launcher.state["reloads"] == count
    after = launcher.state["pids"]
    assert after["launcher"] == before["launcher"] == launcher.process.pid
    assert after["kept"] == before["kept"]
    assert after["replaced"] != before["replaced"]
    assert after["manager"] != before["manager"]
    assert has_ended(pump)
    slots = {slot["slot"]: slot for slot in launcher.manager.hello["slots"]}
    assert {name: slot["pid"] for name, slot in slots.items()} == pids
    assert {slot["state"] for slot in slots.values()} == {"running"}
    assert slots["forked"]["metadata"] == {"of": "forked"}
    for name in pids:
        size = len(launcher.log(f"{name}.out"))
        wait_until(lambda: len(launcher.log(f"{name}.out")) > size)  # noqa: B023 - called at once
    assert "reload" not in launcher.warnings


def test_no_output_is_lost_meanwhile(launcher: RunningLauncher) -> None:
    counting = "import time\nfor number in range(100_000):\n    print(number)\n    time.sleep(0.0001)"
    launcher.spawn("a", "a", sys.executable, "-u", _script(launcher, counting))
    for _ in range(3):
        _reloaded(launcher)
    launcher.manager.ask("signal", slot="a", launch_id="a", signal="SIGTERM", scope="tree")
    launcher.manager.expect("drained", launch_id="a")
    numbers = [int(line) for line in launcher.log("a.out").splitlines()]
    assert numbers == list(range(len(numbers)))


def test_an_exit_comes_to_the_next_manager_with_its_last_words(launcher: RunningLauncher) -> None:
    script = _script(launcher, "import sys, time\nprint('the last words', flush=True)\ntime.sleep(1000)")
    early = launcher.spawn("early", "early", sys.executable, script)
    late = launcher.spawn("late", "late", sys.executable, script)
    wait_until(lambda: launcher.log("early.out"))
    os.kill(early, signal.SIGTERM)
    launcher.manager.expect("drained", launch_id="early")
    _reloaded(launcher)
    (told,) = [slot for slot in launcher.manager.hello["slots"] if slot["slot"] == "early"]
    assert (told["state"], told["exits"][0]["signal"]) == ("empty", signal.SIGTERM)
    assert told["exits"][0]["last_lines"] == {"out": ["the last words"], "err": []}
    os.kill(late, signal.SIGKILL)
    exited = launcher.manager.expect("exited", launch_id="late")["exit"]
    assert (exited["signal"], exited["pid"]) == (signal.SIGKILL, late)
    launcher.manager.expect("empty", launch_id="late")
    launcher.manager.expect("drained", launch_id="late")
    for name in ("early", "late"):
        launcher.manager.ask("ack", slot=name, launch_id=name)
        launcher.manager.ask("release", slot=name)


@pytest.mark.parametrize("has_a_successor", [True, False])
def test_output_that_is_not_saved_yet_does_not_keep_the_next_version_out(
    launcher: RunningLauncher, has_a_successor: bool
) -> None:
    pid = launcher.spawn("a", "first", "sleep", "1000")
    init, pump, before = psutil.Process(launcher.process.pid), launcher.pump, launcher.managers[-1]
    pump.suspend()
    os.kill(pid, signal.SIGKILL)
    launcher.manager.expect("empty", launch_id="first")
    launcher.manager.ask("ack", slot="a", launch_id="first")
    if has_a_successor:
        launcher.spawn("a", "second", "sleep", "1000", expected_launch_id="first")
    else:
        launcher.manager.ask("release", slot="a")
    launcher.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: any(runs(child, "--examine") for child in init.children()))
    pump.resume()
    wait_until(lambda: launcher.managers[-1] is not before, 60.0)
    slots = launcher.manager.hello["slots"]
    assert [slot["launch_id"] for slot in slots] == (["second"] if has_a_successor else [])


@pytest.mark.parametrize("delay_s", [0.0, 0.1, 0.2, 0.3, 0.5])
def test_who_dies_while_the_place_changes_hands_is_told_once(launcher: RunningLauncher, delay_s: float) -> None:
    script = _script(launcher, "import os, signal, time\nos.close(1)\nsignal.pause()")
    pids = {f"a{number}": launcher.spawn(f"a{number}", f"a{number}", sys.executable, script) for number in range(10)}
    before = launcher.managers[-1]
    launcher.process.send_signal(signal.SIGUSR2)
    time.sleep(delay_s)  # where in the reload it falls is chance
    for pid in pids.values():
        os.kill(pid, signal.SIGUSR1)
    wait_until(lambda: launcher.managers[-1] is not before, 60.0)
    manager = launcher.manager

    def told() -> dict[str, int]:
        exits = [exit_ for slot in manager.hello["slots"] for exit_ in slot["exits"]]
        exits += [message["exit"] for message in manager.of_type("exited")]
        assert all(exit_["signal"] == signal.SIGUSR1 for exit_ in exits)
        counted: dict[str, int] = {}
        for exit_ in exits:
            counted[exit_["slot"]] = counted.get(exit_["slot"], 0) + 1
        return counted

    wait_until(lambda: told().keys() == pids.keys())
    assert set(told().values()) == {1}


def test_what_an_instance_leaves_behind_is_swept_after_it_too(launcher: RunningLauncher) -> None:
    left = launcher.directory / "left.pid"
    shell = f"(sleep 1000 & echo $! > {left}) ; exec sleep 1000"
    pid = launcher.spawn("a", "a", "/bin/sh", "-c", shell)
    wait_until(lambda: left.exists() and left.read_text().endswith("\n"))
    _reloaded(launcher)
    os.kill(pid, signal.SIGKILL)
    launcher.manager.expect("empty", launch_id="a")
    assert not psutil.pid_exists(int(left.read_text()))


def test_a_deadline_holds_over_it(launcher: RunningLauncher) -> None:
    due = time.clock_gettime(time.CLOCK_BOOTTIME) + 4.0
    launcher.spawn("a", "a", "sleep", "1000", not_after=due)
    _reloaded(launcher)
    assert launcher.manager.expect("exited", launch_id="a")["exit"]["signal"] == signal.SIGKILL


def test_a_version_that_cannot_take_over_is_refused(launcher: RunningLauncher) -> None:
    pid = launcher.spawn("a", "a", "sleep", "1000")
    before, manager = launcher.state, launcher.managers[-1]
    table = launcher.directory / "table.json"
    good = table.read_text()
    table.write_text(json.dumps(json.loads(good) | {"protocol": 99}))
    launcher.reload()
    after = launcher.state
    assert "protocol: 99: expected 1" in after["reload_refused"]
    assert (after["pids"], after["reloads"]) == (before["pids"], 0)
    assert launcher.managers[-1] is manager
    assert not manager.closed
    assert psutil.pid_exists(pid)
    assert "everything goes on as it was" in launcher.warnings
    table.write_text(good)
    _reloaded(launcher)
    assert launcher.state["reload_refused"] is None
    assert launcher.manager.hello["slots"][0]["pid"] == pid


def test_what_the_installed_version_must_do_before_keeps_the_old_one_if_it_fails(tmp_path: Path) -> None:
    facts = "os.environ['OF_THE_SERVICE'] + str('NOTIFY_SOCKET' in os.environ)"
    said = f"import os, sys; sys.exit('half migrated ' + {facts})"
    prepared = manager_service(tmp_path) | {"prepare": [sys.executable, "-c", said]}
    prepared["env"] = prepared["env"] | {"OF_THE_SERVICE": "here", "NOTIFY_SOCKET": "/nowhere"}
    with running_launcher(tmp_path, prepared) as launcher:
        launcher.manager.ask("ready")
        manager = launcher.managers[-1]
        for count in (1, 2):
            launcher.reload()
            assert "half migrated hereFalse" in launcher.state["reload_refused"]
            assert launcher.state["reloads_refused"] == count
        assert launcher.managers[-1] is manager
        assert not manager.closed


def test_an_exec_that_fails_leaves_everything_as_it_was(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.symlink_to(Path(sys.executable).resolve())
    services = [manager_service(tmp_path) | {"prepare": ["mv", str(python), f"{python}.away"]}]
    services += [service("replaced", "sleep", "1000")]
    with running_launcher(tmp_path, *services, python=str(python)) as launcher:
        launcher.manager.ask("ready")
        pid = launcher.spawn("a", "a", sys.executable, _script(launcher, _CHATTERING))
        before = launcher.managers[-1]
        launcher.process.send_signal(signal.SIGUSR2)
        wait_until(lambda: launcher.managers[-1] is not before, 60.0)
        launcher.manager.ask("ready")
        wait_until(lambda: launcher.state["reloads_refused"] == 1, 60.0)
        assert "No such file or directory" in launcher.state["reload_refused"]
        assert launcher.manager.hello["slots"][0]["pid"] == pid
        size = len(launcher.log("a.out"))
        Path(f"{python}.away").rename(python)
        wait_until(lambda: len(launcher.log("a.out")) > size)
        # Nothing of it comes back later, and nothing was let through to those who have begun since.
        launcher.pump.kill()
        wait_until(lambda: len(launcher.log("a.out")) > size + 1_000)
        assert launcher.state["reloads"] == 0
        replaced = launcher.state["pids"]["replaced"]
        assert sorted(os.listdir(f"/proc/{replaced}/fd")) == ["0", "1", "2"]
        assert [p.pid for p in launcher.processes() if p.cmdline() == ["sleep", "1000"]] == [replaced]


def test_last_words_of_any_kind_come_through(launcher: RunningLauncher) -> None:
    odd = "import os, time\nos.write(1, b'bye\\0\\xff\\x1b[2J\\n')\nos.write(2, b'\\xed\\xa0\\x80')\nos._exit(3)"
    launcher.spawn("a", "a", sys.executable, _script(launcher, odd))
    launcher.manager.expect("drained", launch_id="a")
    _reloaded(launcher)
    (slot,) = launcher.manager.hello["slots"]
    assert slot["exits"][0]["code"] == 3
    assert slot["exits"][0]["last_lines"]["out"][0].startswith("bye\0")


def test_a_stop_in_the_middle_of_it_is_a_stop(launcher: RunningLauncher) -> None:
    launcher.spawn("a", "a", "sleep", "1000")
    manager = launcher.managers[-1]
    launcher.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: manager.closed, 60.0)
    launcher.process.send_signal(signal.SIGTERM)
    wait_until(lambda: launcher.process.poll() is not None or launcher.managers[-1].of_type("shutdown"), 60.0)
    launcher.managers[-1].leave()
    assert launcher.process.wait(60) == 0
    assert not launcher.processes()


def _examined(launcher: RunningLauncher, state: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    descriptor = os.memfd_create("state", 0)
    with open(descriptor, "w", closefd=False) as file:
        json.dump(state, file)
    os.lseek(descriptor, 0, os.SEEK_SET)
    try:
        return subprocess.run(
            [
                *(sys.executable, "-P", "-m", "agent_manager.launcher"),
                *("--table", str(launcher.directory / "table.json"), "--examine", str(descriptor)),
            ],
            pass_fds=[descriptor],
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[3],
        )
    finally:
        os.close(descriptor)


def test_a_format_that_is_not_known_is_refused(launcher: RunningLauncher) -> None:
    done = _examined(launcher, {"format": handover.FORMAT + 1})
    assert (done.returncode, "format: 2: expected 1" in done.stderr) == (2, True)


def test_a_state_that_lacks_something_is_refused_and_says_what(launcher: RunningLauncher) -> None:
    done = _examined(launcher, {"format": handover.FORMAT})
    assert done.returncode == 2
    assert "handover" in done.stderr
    assert "missing" in done.stderr


@pytest.mark.parametrize("version", sorted(path.stem for path in _HANDED_OVER.glob("*.json")))
def test_what_an_earlier_version_hands_over_is_understood(launcher: RunningLauncher, version: str) -> None:
    """One file a version, as it was written by it: never changed, but for paths."""
    done = _examined(launcher, json.loads((_HANDED_OVER / f"{version}.json").read_text(encoding="ascii")))
    assert (done.returncode, done.stderr) == (0, "")
