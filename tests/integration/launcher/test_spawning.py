"""Programs that are started in the launcher's memory are what those are that come from a fork."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agent_manager.launcher import linux
from tests.harness import compiled, without_clone3
from tests.harness.cgroups import a_cgroup
from tests.harness.compiled import WAYS, can_be_compiled, chosen

_PROBE = Path(without_clone3.__file__).with_name("probe.py")
_HEAD = f"""{compiled.CHOOSE}
import os, resource, select, signal, sys
from dataclasses import replace
from agent_manager.launcher import spawning
from agent_manager.launcher.becoming import Program

spawner = spawning.Spawner()
program = Program(argv=("/bin/true",), env={{"PATH": "/usr/bin:/bin"}}, cwd="/")

def run(program):
    pid, status = spawner.spawn(program)
    while True:
        select.select([status], [], [])
        try:
            failure = status.read()
            break
        except BlockingIOError:
            pass
    status.close()
    return failure and str(failure), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""
_REPORT = """
signal.signal(signal.SIGTERM, lambda *_: None)
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
signal.signal(signal.SIGQUIT, signal.SIG_IGN)
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
    {"cwd": "/tmp\\0/nowhere"},
    {"argv": ("/no/where",)},
    {"argv": ("nowhere",)},
    {"argv": ("tool",), "env": {"PATH": f"{here}/none:{here}/bin:{here}/others"}},
    {"argv": ("bin/tool",), "cwd": here},
    {"argv": ("true", "x" * 200_000)},
    {"argv": ("nowhere" * 500,)},
    {"argv": ("true", "\\0")},
    {"stdout": 100_000},
    {"cgroup": os.open("/", os.O_RDONLY | os.O_DIRECTORY)},
):
    print(run(replace(program, **changed)))
print(run(program))
print(run(replace(program, argv=("true",))))
"""
_OF_THE_KERNEL = """
told = '''
import ctypes
signal = ctypes.c_int()
ctypes.CDLL(None).prctl(2, ctypes.byref(signal), 0, 0, 0)
print(signal.value, *(line for line in open("/proc/self/status").read().splitlines() if line.startswith("NoNewPrivs")))
'''
output = os.open("output", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC)
for changed in ({}, {"dies_with_launcher": False}, {"no_new_privileges": True}):
    asked = replace(program, argv=(sys.executable, "-c", told), stdout=output, env={"PYTHONUNBUFFERED": "1"}, **changed)
    assert run(asked) == (None, 0)
print(open("output").read())
"""
_STANDARD_INPUT = """
non_blocking = "import os; print(os.get_blocking(0)); os.set_blocking(0, False)"
output = os.open("output", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC)
for _ in range(2):
    assert run(replace(program, argv=(sys.executable, "-c", non_blocking), stdout=output)) == (None, 0)
print(open("output").read())
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
_MANY_FAILURES = """
for _ in range(100):
    # Freed as soon as it may be, a block of that size is no longer there.
    print(run(replace(program, argv=("/no/where", "x" * 100_000, "x" * 100_000))))
"""
_CGROUP = """
cgroup = os.open(sys.argv[2], os.O_RDONLY | os.O_DIRECTORY)
output = os.open(sys.argv[3], os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC)
print(run(replace(program, argv=("cat", "/proc/self/cgroup"), cgroup=cgroup, stdout=output)))
"""


def _run(script: str, way: str, *arguments: str, cwd: Path, program: tuple[str, ...] = ()) -> str:
    """In a process of its own, which a spawner changes; executed by this program."""
    cwd.mkdir(exist_ok=True)
    argv = [*program, sys.executable, "-c", _HEAD + script, chosen(way, cwd), *arguments]
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (os.EX_OK, "")
    return done.stdout


def test_the_compiled_part_is_there_where_it_can_be() -> None:
    assert bool(linux.vfork) or not can_be_compiled()


@pytest.mark.parametrize("way", WAYS[1:])
def test_what_a_program_finds_is_the_same(tmp_path: Path, way: str) -> None:
    found: list[dict[str, Any]] = []
    for each in ("fork", way):
        report = tmp_path / f"{each}.json"
        assert _run(_REPORT, each, str(report), str(_PROBE), cwd=tmp_path) == "(None, 0)\n"
        found.append(json.loads(report.read_text()))
    for one in found:
        del one["parent"], one["main"]  # a process each, and addresses in memory
        assert one["environment"]["WITH"] == "a = b"
        assert one["is_session_leader"]
    assert found[0] == found[1]


@pytest.mark.parametrize("way", WAYS[1:])
def test_what_fails_is_told_in_the_same_words(tmp_path: Path, way: str) -> None:
    told = [_run(_FAILURES, each, cwd=tmp_path / each).replace(f"/{each}/", "/") for each in ("fork", way)]
    assert told[0] == told[1]
    assert "(\"exec failed: 'tool': Permission denied\", 127)\n" in told[1]
    assert told[1].endswith("(None, 0)\n(None, 0)\n")


@pytest.mark.parametrize("way", WAYS)
def test_the_kernel_is_asked_to_end_it_with_the_launcher_and_to_give_it_nothing_more(tmp_path: Path, way: str) -> None:
    told = _run(_OF_THE_KERNEL, way, cwd=tmp_path).split()
    assert told == ["9", "NoNewPrivs:", "0", "0", "NoNewPrivs:", "0", "9", "NoNewPrivs:", "1"]


@pytest.mark.parametrize("way", WAYS)
def test_each_has_a_standard_input_of_its_own(tmp_path: Path, way: str) -> None:
    assert _run(_STANDARD_INPUT, way, cwd=tmp_path).split() == ["True", "True"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("program", [(), (sys.executable, without_clone3.__file__)], ids=["with clone3", "without"])
def test_a_program_is_in_its_cgroup(tmp_path: Path, way: str, program: tuple[str, ...]) -> None:
    with a_cgroup() as cgroup:
        assert _run(_CGROUP, way, str(cgroup), "found", cwd=tmp_path, program=program) == "(None, 0)\n"
        assert f"/{cgroup.parent.name}/{cgroup.name}\n" in (tmp_path / "found").read_text()


@pytest.mark.parametrize("way", WAYS[1:])
def test_nothing_of_the_memory_stays(tmp_path: Path, way: str) -> None:
    # Each writes to a page or two: kept, that would be 2,000 KB at least.
    assert int(_run(_MANY, way, cwd=tmp_path)) < 1000


@pytest.mark.parametrize("way", WAYS[1:])
def test_the_memory_stays_until_a_child_that_fails_has_left_it(tmp_path: Path, way: str) -> None:
    failure = "(\"exec failed: '/no/where': No such file or directory\", 127)\n"
    assert _run(_MANY_FAILURES, way, cwd=tmp_path) == failure * 100
