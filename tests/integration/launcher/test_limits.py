"""What a launch may use, and as whom it runs: executed and forked alike."""

import json
import os
import pwd
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.harness import without_clone3
from tests.harness.cgroups import wants_cgroups
from tests.harness.launcher import (
    RequestRefused,
    RunningLauncher,
    has_ended,
    process_in,
    running_launcher,
    start_process,
)
from tests.harness.waiting import wait_until

_PATH = {"PATH": os.environ["PATH"]}
_NOBODY = pwd.getpwnam("nobody")

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")


@pytest.fixture(params=["exec", "fork"])
def way(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {"exec": {}, "fork": {"zygote": {"env": _PATH, "preload": ["json"]}}}[request.param]


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[RunningLauncher]:
    with running_launcher(tmp_path) as launcher:
        yield launcher


@pytest.fixture
def without_cgroups(tmp_path: Path) -> Iterator[RunningLauncher]:
    with running_launcher(tmp_path, cgroups=False) as launcher:
        yield launcher


@pytest.fixture
def of_nobody() -> dict[str, Any]:
    """What a launch needs that lives on as nobody."""
    user = {"uid": _NOBODY.pw_uid, "gid": _NOBODY.pw_gid, "groups": [_NOBODY.pw_gid]}
    return {"argv": ["/bin/sleep", "1000"], "cwd": "/", "user": user}


def _run(launcher: RunningLauncher, way: dict[str, Any], text: str, **changes: Any) -> dict[str, Any]:
    """Run a script to its end; its exit."""
    script = launcher.directory / "agent.py"
    script.write_text(text)
    launcher.spawn("a", "a", sys.executable, str(script), **way, **changes)
    exit_: dict[str, Any] = launcher.manager.expect("drained", launch_id="a")["exit"]
    return exit_


def _kill_launcher_and_pump(launcher: RunningLauncher) -> None:
    pump = launcher.pump
    pump.suspend()
    launcher.process.kill()
    launcher.process.wait()
    pump.kill()


def _told(launcher: RunningLauncher, way: dict[str, Any], expression: str, **changes: Any) -> Any:
    """What an expression is worth in a launch."""
    text = f"import json, os, resource\nfrom pathlib import Path\nprint(json.dumps({expression}))"
    exit_ = _run(launcher, way, text, **changes)
    assert exit_["code"] == 0, launcher.log("a.err")
    return json.loads(launcher.log("a.out"))


def test_each_process_is_bounded(launcher: RunningLauncher, way: dict[str, Any]) -> None:
    expression = "[resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(resource.RLIMIT_CPU), os.nice(0)]"
    limits = {"open_files": 100, "cpu_seconds": 50, "nice": 7}
    assert _told(launcher, way, expression, limits=limits) == [[100, 100], [50, 55], 7]


def test_memory_is_bounded_in_each_process_where_no_cgroup_does(
    without_cgroups: RunningLauncher, way: dict[str, Any]
) -> None:
    text = "grown = bytearray(50_000_000)\nprint('fits', flush=True)\ngrown = bytearray(500_000_000)"
    exit_ = _run(without_cgroups, way, text, limits={"memory_bytes": 200_000_000})
    assert (exit_["code"], without_cgroups.log("a.out")) == (1, "fits\n")
    assert without_cgroups.log("a.err").endswith("MemoryError\n")


def test_who_has_used_up_its_processor_time_is_told_so_by_a_signal(
    launcher: RunningLauncher, way: dict[str, Any]
) -> None:
    assert _run(launcher, way, "while True: pass", limits={"cpu_seconds": 1})["signal"] == signal.SIGXCPU


@as_root
def test_a_launch_runs_as_another_user(launcher: RunningLauncher, of_nobody: dict[str, Any]) -> None:
    instance = psutil.Process(launcher.spawn("a", "a", **of_nobody))
    assert set(instance.uids()) == {_NOBODY.pw_uid}
    assert set(instance.gids()) == {_NOBODY.pw_gid}
    status = Path(f"/proc/{instance.pid}/status").read_text()
    assert f"Groups:\t{_NOBODY.pw_gid} \n" in status


@as_root
def test_nothing_of_another_user_is_run_as_the_launcher(launcher: RunningLauncher, of_nobody: dict[str, Any]) -> None:
    (launcher.directory / "trap.py").write_text(f"open({str(launcher.directory / 'sprung')!r}, 'w')")
    env = _PATH | {"PYTHONPATH": str(launcher.directory)}
    launcher.spawn("a", "a", **of_nobody, zygote={"env": env, "preload": ["trap"]})
    commands = [" ".join(child.cmdline()) for child in psutil.Process(launcher.process.pid).children()]
    assert [command for command in commands if "zygote.py" in command] == []
    assert not (launcher.directory / "sprung").exists()


@as_root
def test_who_runs_as_another_user_dies_with_the_launcher_all_the_same(
    launcher: RunningLauncher, of_nobody: dict[str, Any]
) -> None:
    instance = psutil.Process(launcher.spawn("a", "a", **of_nobody))
    # Only the kernel is left to end it.
    _kill_launcher_and_pump(launcher)
    wait_until(lambda: has_ended(instance))


@as_root
def test_a_folder_that_the_user_may_not_enter_is_a_start_that_failed(
    launcher: RunningLauncher, of_nobody: dict[str, Any]
) -> None:
    closed = launcher.directory / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(RequestRefused, match=r"cwd failed: '.*/closed': Permission denied"):
        launcher.spawn("a", "a", **of_nobody | {"cwd": str(closed)})


def test_a_limit_on_descriptors_counts_those_of_the_launch_alone(
    launcher: RunningLauncher, way: dict[str, Any]
) -> None:
    for number in range(20):
        launcher.spawn(f"b{number}", f"b{number}", "sleep", "1000")
    expression = "resource.getrlimit(resource.RLIMIT_NOFILE)"
    assert _told(launcher, way, expression, limits={"open_files": 20}) == [20, 20]


def test_a_limit_that_cannot_be_set_is_a_start_that_failed(launcher: RunningLauncher, way: dict[str, Any]) -> None:
    with pytest.raises(RequestRefused, match="limits failed: open_files 1099511627776: "):
        launcher.spawn("a", "a", sys.executable, "agent.py", limits={"open_files": 1 << 40}, **way)


def test_nothing_gains_privileges_where_that_is_forbidden(launcher: RunningLauncher, way: dict[str, Any]) -> None:
    expression = "[line for line in Path('/proc/self/status').read_text().splitlines() if 'NoNewPrivs' in line]"
    assert _told(launcher, way, expression, no_new_privileges=True) == ["NoNewPrivs:\t1"]


def test_not_even_who_hides_escapes_a_cgroup(launcher: RunningLauncher, way: dict[str, Any]) -> None:
    wants_cgroups()
    left = launcher.directory / "left.pid"
    # Another session, another parent, and an environment that says nothing.
    hides = f"""
import os, time
from pathlib import Path
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
        os.execve("/bin/sh", ["sh", "-c", "echo $$ > {left}; exec sleep 1000"], {{"PATH": os.environ["PATH"]}})
    os._exit(0)
while not Path({str(left)!r}).exists() or not Path({str(left)!r}).read_text():
    time.sleep(0.01)
"""
    _run(launcher, way, hides)
    launcher.manager.expect("empty", launch_id="a")
    assert not psutil.pid_exists(int(left.read_text()))


@pytest.mark.parametrize("prefix", [(), (sys.executable, without_clone3.__file__)], ids=["clone3", "no clone3"])
def test_cgroups_go_with_their_launches(tmp_path: Path, way: dict[str, Any], prefix: tuple[str, ...]) -> None:
    wants_cgroups()
    with running_launcher(tmp_path, prefix=prefix) as launcher:
        expression = "Path('/proc/self/cgroup').read_text().split('0::')[1].split()[0]"
        own = _told(launcher, way, expression)
        assert own.endswith(f"agent-manager-{launcher.table['installation']}/launch-a")
        launcher.manager.expect("empty", launch_id="a")
        mounts = (line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines())
        (root,) = [Path(fields[4]) for fields in mounts if "cgroup2" in fields][:1]
        assert (root / own[1:]).parent.exists()
        assert not (root / own[1:]).exists()
        assert launcher.stop() == 0
        assert not (root / own[1:]).parent.exists()


def test_what_a_killed_launcher_left_in_its_cgroups_is_killed_by_the_next(tmp_path: Path) -> None:
    wants_cgroups()
    left = tmp_path / "left.pid"
    with running_launcher(tmp_path) as launcher:
        # A child of a child does not die with the launcher, and this one cannot be told by its environment.
        script = f"env -i sleep 1000 & echo $! > {left}; wait"
        launcher.spawn("a", "a", "/bin/sh", "-c", script)
        survivor = process_in(left)
        _kill_launcher_and_pump(launcher)
        assert not has_ended(survivor)
        table = launcher.table
        process = start_process(tmp_path, table)
        wait_until(lambda: has_ended(survivor))
        process.kill()
        process.wait()
