"""Programs that are started in shared memory are what those are that come from a fork."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.harness import without_clone3
from tests.harness.cgroups import a_cgroup

_PROBE = Path(without_clone3.__file__).with_name("probe.py")
_WITHOUT_CLONE3 = (sys.executable, without_clone3.__file__)
_HEAD = """
import os, resource, select, signal, sys
from dataclasses import replace
from agent_manager.launcher import linux, spawning
from agent_manager.launcher.becoming import Program

if sys.argv[1] == "fork":
    linux.vfork = None
spawner = spawning.Spawner()
program = Program(argv=("/bin/true",), env={"PATH": "/usr/bin:/bin"}, cwd="/")

def run(program):
    pid, status = spawner.spawn(program)
    select.select([status], [], [])
    failure = status.read()
    status.close()
    return failure, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""
_REPORT = """
signal.signal(signal.SIGTERM, lambda *_: None)
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
os.environ["OF_THE_LAUNCHER"] = "1"
os.umask(0o27)
output = os.open("output", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC)
argv = (sys.executable, sys.argv[3], "an argument", sys.argv[2])
env = {"HOME": "/nowhere", "WITH": "a = b", "UNUSUAL": "\\u00e4"}
print(run(replace(program, argv=argv, env=env, cwd="/tmp", stdout=output, stderr=output, control=output)))
"""
_FAILURES = """
os.makedirs("bin/somewhere"); open("bin/tool", "w").close()
here = os.getcwd()
for changed in (
    {"cwd": "/no/where"},
    {"cwd": "/etc/passwd"},
    {"argv": ("/no/where",)},
    {"argv": ("nowhere",)},
    {"argv": ("tool",), "env": {"PATH": f"{here}/none:{here}/bin:{here}/others"}},
    {"argv": ("bin/tool",), "cwd": here},
    {"argv": ("true", "x" * 200_000)},
    {"argv": ("nowhere" * 500,)},
    {"argv": ("true", "\\0")},
):
    failure, code = run(replace(program, **changed))
    print(failure.step, failure.reason, code)
print(run(program))
print(run(replace(program, argv=("true",), no_new_privileges=True)))
"""
_MANY = """
from pathlib import Path
def anonymous_kb():
    return int(Path("/proc/self/smaps_rollup").read_text().partition("Anonymous:")[2].split()[0])
for _ in range(50):
    run(program)
before = anonymous_kb()
for _ in range(500):
    run(program)
print(anonymous_kb() - before)
"""
_CGROUP = """
cgroup = os.open(sys.argv[2], os.O_RDONLY | os.O_DIRECTORY)
output = os.open(sys.argv[3], os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC)
print(run(replace(program, argv=("cat", "/proc/self/cgroup"), cgroup=cgroup, stdout=output)))
print(run(replace(program, cgroup=os.open("/", os.O_RDONLY | os.O_DIRECTORY)))[0].step)
"""
_BOTH = ("fork", "shared memory")


def _run(script: str, way: str, *arguments: str, cwd: Path, program: tuple[str, ...] = ()) -> str:
    """In a process of its own, which a spawner changes; executed by this program."""
    argv = [*program, sys.executable, "-c", _HEAD + script, way, *arguments]
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (os.EX_OK, "")
    return done.stdout


@pytest.fixture(autouse=True)
def _compiled() -> None:
    pytest.importorskip("agent_manager.launcher._vfork", reason="was not compiled when this was installed")


def test_what_a_program_finds_is_the_same(tmp_path: Path) -> None:
    found: list[dict[str, Any]] = []
    for way in _BOTH:
        report = tmp_path / way
        assert _run(_REPORT, way, str(report), str(_PROBE), cwd=tmp_path) == "(None, 0)\n"
        found.append(json.loads(report.read_text()))
    for each in found:
        del each["parent"], each["main"]  # a process each, and addresses in memory
        assert each["environment"]["WITH"] == "a = b"
        assert each["is_session_leader"]
    assert found[0] == found[1]


def test_what_fails_is_told_in_the_same_words(tmp_path: Path) -> None:
    told = []
    for way in _BOTH:
        (tmp_path / way).mkdir()
        told.append(_run(_FAILURES, way, cwd=tmp_path / way).replace(way, "WAY"))
    assert told[0] == told[1]
    assert "exec 'tool': Permission denied 127\n" in told[1]
    assert told[1].endswith("(None, 0)\n(None, 0)\n")


@pytest.mark.parametrize("way", _BOTH)
@pytest.mark.parametrize("program", [(), _WITHOUT_CLONE3], ids=["with clone3", "without"])
def test_a_program_is_in_its_cgroup(tmp_path: Path, way: str, program: tuple[str, ...]) -> None:
    with a_cgroup() as cgroup:
        told = _run(_CGROUP, way, str(cgroup), "found", cwd=tmp_path, program=program)
        assert told == "(None, 0)\nlimits\n"
        assert f"/{cgroup.parent.name}/{cgroup.name}\n" in (tmp_path / "found").read_text()


def test_nothing_of_the_memory_stays(tmp_path: Path) -> None:
    # Each writes to a page or two: kept, that would be 2,000 KB at least.
    assert int(_run(_MANY, "shared memory", cwd=tmp_path)) < 1000
