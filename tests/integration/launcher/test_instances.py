"""Starting instances in slots, and what is told of their ends."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.harness.launcher import NODE_PYTHON, RequestRefused, RunningLauncher, running_launcher


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[RunningLauncher]:
    with running_launcher(tmp_path) as launcher:
        yield launcher


def _python(program: str) -> tuple[str, ...]:
    return (*NODE_PYTHON, "-c", program)


def _run(launcher: RunningLauncher, slot: str, *argv: str, launch_id: str = "l1") -> dict[str, Any]:
    """Run a launch to its end; its exit."""
    launcher.spawn(slot, launch_id, *argv)
    exited = launcher.manager.expect("exited", slot=slot, launch_id=launch_id)
    launcher.manager.expect("empty", launch_id=launch_id)
    launcher.manager.expect("drained", launch_id=launch_id)
    exit_: dict[str, Any] = exited["exit"]
    return exit_


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"argv": ["/no/such/program"]}, "exec failed: '/no/such/program': No such file or directory"),
        ({"argv": ["no-such-program"]}, "exec failed: 'no-such-program': No such file or directory"),
        ({"argv": ["/etc/passwd"]}, "exec failed: '/etc/passwd': Permission denied"),
        ({"argv": ["true", "x" * 200_000]}, "exec failed: 'true': Argument list too long"),
        ({"cwd": "/no/such/directory"}, "cwd failed: '/no/such/directory': No such file or directory"),
    ],
)
def test_a_launch_that_cannot_start_says_which_step_failed(
    launcher: RunningLauncher, changes: dict[str, Any], message: str
) -> None:
    request = launcher.spawn_fields("a", "l1", "true", **changes)
    for _ in range(2):  # the second time it is only told again
        with pytest.raises(RequestRefused) as refused:
            launcher.manager.ask("spawn", **request)
        assert (refused.value.code, refused.value.message) == ("spawn_failed", message)
    assert launcher.spawn("a", "l2", "sleep", "1000", expected_launch_id="l1") > 0
    assert launcher.manager.of_type("exited", "empty", "drained") == []


def test_a_spawn_is_repeated_without_starting_anything(launcher: RunningLauncher) -> None:
    request = launcher.spawn_fields("a", "l1", "sleep", "1000")
    first, second = (launcher.manager.begin("spawn", **request) for _ in range(2))
    answers = [
        launcher.manager.answer(first),
        launcher.manager.answer(second),
        launcher.manager.ask("spawn", **request),
    ]
    assert answers[0] == answers[1] == answers[2]
    assert (
        len([process for process in psutil.Process(launcher.process.pid).children() if process.name() == "sleep"]) == 1
    )


def test_a_spawn_that_expects_another_launch_is_a_conflict(launcher: RunningLauncher) -> None:
    launcher.spawn("a", "l1", "sleep", "1000")
    for expected in (None, "l0", "l1"):
        with pytest.raises(RequestRefused, match="'l1'") as refused:
            launcher.spawn("a", "l2", "sleep", "1000", expected_launch_id=expected)
        assert refused.value.code == "conflict"
    with pytest.raises(RequestRefused, match="'l1' belongs to another slot"):
        launcher.spawn("b", "l1", "sleep", "1000")


def test_exit_codes_and_signals_are_told(launcher: RunningLauncher) -> None:
    exit_ = _run(launcher, "a", "sh", "-c", "exit 7")
    assert (exit_["code"], exit_["signal"], exit_["core_dumped"]) == (7, None, False)
    exit_ = _run(launcher, "b", "sh", "-c", "kill -USR1 $$", launch_id="l2")
    assert (exit_["code"], exit_["signal"], exit_["core_dumped"]) == (None, 10, False)


def test_a_core_dump_is_told(launcher: RunningLauncher) -> None:
    crash = ("sh", "-c", "ulimit -c unlimited; kill -SEGV $$")
    pid = os.posix_spawnp(crash[0], ["sh", "-c", f"cd {launcher.directory}; {crash[2]}"], os.environ)
    _, status = os.waitpid(pid, 0)
    exit_ = _run(launcher, "a", *crash)
    assert (exit_["signal"], exit_["core_dumped"]) == (11, os.WCOREDUMP(status))


def test_usage_is_told(launcher: RunningLauncher) -> None:
    before = time.time()
    program = "import time\nblock = bytearray(b'x') * (64 << 20)\nwhile time.process_time() < 0.2: pass"
    exit_ = _run(launcher, "a", *_python(program))
    assert exit_["max_rss_kb"] >= 64 << 10
    assert exit_["user_s"] + exit_["system_s"] >= 0.2
    assert before <= exit_["started_at"] < exit_["ended_at"] <= time.time()


def test_an_instance_gets_a_clean_process(launcher: RunningLauncher) -> None:
    program = """
import json, os
print(json.dumps({
    "descriptors": sorted(map(int, os.listdir("/proc/self/fd")))[:-1],
    "stdin": os.readlink("/proc/self/fd/0"),
    "leads": os.getsid(0) == os.getpgid(0) == os.getpid(),
    "status": {key: value.strip() for key, value in (line.split(":", 1) for line in open("/proc/self/status"))},
    "env": sorted(filter(None, open("/proc/self/environ").read().split("\\0"))),
    "cwd": os.getcwd(),
}))
"""
    _run(launcher, "a", *_python(program))
    report = json.loads(launcher.log("a.out"))
    assert report["descriptors"] == [0, 1, 2]
    assert report["stdin"] == "/dev/null"
    assert report["leads"]
    assert report["status"]["SigBlk"] == "0" * 16
    assert report["cwd"] == str(launcher.directory)
    assert report["env"] == [
        "AGENT_LAUNCH_ID=l1",
        f"AGENT_MANAGER_INSTALLATION={launcher.table['installation']}",
        f"AGENT_MANAGER_RUN={launcher.manager.hello['run']}",
        f"PATH={os.environ['PATH']}",
    ]


def test_no_signal_is_ignored_in_an_instance(launcher: RunningLauncher) -> None:
    # Not Python, which ignores some signals itself.
    _run(launcher, "a", "grep", "SigIgn", "/proc/self/status")
    _, ignored = launcher.log("a.out").split()
    # 32 and 33 are glibc's own; its posix_spawn, which make uses, lets them be ignored, and nobody can change them.
    glibcs_own = 0b11 << 31
    assert int(ignored, 16) & ~glibcs_own == 0


def test_signals_need_a_living_launch_of_this_id(launcher: RunningLauncher) -> None:
    _run(launcher, "a", "true")
    for slot, launch_id, code in (("a", "l1", "not_running"), ("a", "l0", "conflict"), ("b", "l1", "conflict")):
        with pytest.raises(RequestRefused) as refused:
            launcher.manager.ask("signal", slot=slot, launch_id=launch_id, signal="SIGTERM", scope="tree")
        assert refused.value.code == code


def test_a_request_that_makes_no_sense_is_refused_and_nothing_else_happens(launcher: RunningLauncher) -> None:
    with pytest.raises(RequestRefused, match="argv: missing") as refused:
        launcher.manager.ask("spawn", slot="a", launch_id="l1", output={})
    assert refused.value.code == "invalid"
    assert launcher.spawn("a", "l1", "sleep", "1000") > 0


def test_a_deadline_may_be_postponed_and_withdrawn(launcher: RunningLauncher) -> None:
    # Late enough for the updates to come first on a machine that has much to do.
    soon = time.clock_gettime(time.CLOCK_BOOTTIME) + 4
    for slot in ("kept", "withdrawn", "postponed"):
        launcher.spawn(slot, slot, "sleep", "1000", not_after=soon)
    launcher.manager.ask("update", slot="withdrawn", launch_id="withdrawn", not_after=None)
    launcher.manager.ask("update", slot="postponed", launch_id="postponed", not_after=soon + 3600)
    launcher.manager.expect("empty", slot="kept")
    assert [message["exit"]["slot"] for message in launcher.manager.of_type("exited")] == ["kept"]


def test_a_deadline_that_has_passed_already_ends_the_launch_at_once(launcher: RunningLauncher) -> None:
    for number in range(20):
        launcher.spawn(f"s{number}", f"l{number}", "sleep", "1000", not_after=0.0)
        launcher.manager.expect("empty", slot=f"s{number}")


def test_a_slot_is_released_after_its_exit_is_acknowledged(launcher: RunningLauncher) -> None:
    _run(launcher, "a", "true")
    with pytest.raises(RequestRefused, match="not acknowledged"):
        launcher.manager.ask("release", slot="a")
    for _ in range(2):
        launcher.manager.ask("ack", slot="a", launch_id="l1")
    for _ in range(2):
        launcher.manager.ask("release", slot="a")
    assert launcher.spawn("a", "l2", "sleep", "1000") > 0
