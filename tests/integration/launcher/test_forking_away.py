"""A process that is forked away is its grandparent's, by either way."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.cgroups import a_cgroup
from tests.harness.compiled import CHOOSE, WAYS, chosen

_HEAD = f"""{CHOOSE}
import ctypes, os, select, signal, sys
from agent_manager.launcher import forking
from agent_manager.launcher.becoming import await_launcher

linux.become_subreaper()
told = []
os.register_at_fork(
    before=lambda: told.append("before"),
    after_in_parent=lambda: told.append("parent"),
    after_in_child=lambda: told.append("child"),
)
reader, writer = os.pipe()

def in_it(report, cgroup=None, depth=40):
    if depth:
        return in_it(report, cgroup, depth - 1)  # it is to come up again all the way
    birth = forking.fork_away(cgroup)
    if birth is None:
        pid, status = os.waitpid(-1, 0)
        return pid, os.waitstatus_to_exitcode(status), os.read(reader, 1000).decode()
    await_launcher(birth.between)
    os.write(writer, str(report(birth)).encode())
    os._exit(7)
"""
_A_FORK = """
before = os.getpid(), os.getpgid(0)
pid, code, report = in_it(lambda birth: (os.getpid(), os.getppid(), os.getpgid(0) == birth.between, birth.in_cgroup))
assert (report, code) == (str((pid, before[0], True, False)), 7)
assert (os.getpid(), os.getpgid(0)) == before
try:
    sys.exit(f"a child more: {os.waitpid(-1, 0)}")
except ChildProcessError:
    pass
"""
_TOLD = """
_, _, report = in_it(lambda birth: told)
assert report in ("['before', 'child']", "['before', 'child', 'before', 'child']"), report
assert told == ["before", "parent"], told
"""
_MEMORY = """
values = [1]
_, _, report = in_it(lambda birth: values.append(2) or values)
assert (report, values) == ("[1, 2]", [1])
"""
_PROCESSOR = """
# Where the C library has it from memory that the kernel writes to, it is right only while the kernel knows of that.
libc = ctypes.CDLL(None)
def report(birth):
    found = []
    for processor in sorted(os.sched_getaffinity(0)):
        os.sched_setaffinity(0, [processor])
        found.append(libc.sched_getcpu() == processor)
    return found
_, _, told = in_it(report)
assert told == str([True] * len(os.sched_getaffinity(0))), told
"""
_MANY = """
for number in range(200):
    assert in_it(lambda birth: number)[1:] == (7, str(number))
"""
_IN_CGROUP = """
directory = os.open(sys.argv[2], os.O_RDONLY | os.O_DIRECTORY)
own = open("/proc/self/cgroup").read()
_, _, report = in_it(lambda birth: (birth.in_cgroup, open("/proc/self/cgroup").read() != own), directory)
assert report == "(True, True)", report
assert open("/proc/self/cgroup").read() == own
"""
_NO_CGROUP = """
directory = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
_, code, report = in_it(lambda birth: birth.in_cgroup, directory)
assert (report, code) == ("False", 7)
"""
_NO_PROCESS = """
import resource
user, processes = int(sys.argv[2]), int(sys.argv[3])
os.setresuid(user, user, user)
resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))
try:
    sys.exit(f"forked: {forking.fork_away(None)}")
except BlockingIOError:
    pass
try:
    sys.exit(f"left: {os.waitpid(-1, 0)}")
except ChildProcessError:
    pass
"""
_HANDLERS = """
heeded = []
signal.signal(signal.SIGUSR1, lambda *_: heeded.append(os.getpid()))
def report(birth):
    os.kill(os.getpid(), signal.SIGUSR1)
    return heeded == [os.getpid()], signal.pthread_sigmask(signal.SIG_BLOCK, ())
assert in_it(report)[2] == "(True, set())"
os.kill(os.getpid(), signal.SIGUSR1)
assert heeded == [os.getpid()]
"""


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return chosen(request.param, tmp_path)


@pytest.fixture
def cgroup() -> Iterator[Path]:
    with a_cgroup() as path:
        yield path


def _run(script: str, *arguments: str) -> None:
    """In a process of one thread."""
    done = subprocess.run([sys.executable, "-c", _HEAD + script, *arguments], stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr.decode()) == (os.EX_OK, "")


@pytest.mark.parametrize(
    "script",
    [_A_FORK, _TOLD, _MEMORY, _PROCESSOR, _MANY, _NO_CGROUP, _HANDLERS],
    ids=["a fork", "who is told", "memory", "processor", "many", "no cgroup", "signals"],
)
def test_it_is_a_fork_and_the_process_between_is_gone(way: str, script: str) -> None:
    _run(script, way)


def test_it_comes_by_way_of_the_cgroup(way: str, cgroup: Path) -> None:
    _run(_IN_CGROUP, way, str(cgroup))


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, who has no process yet")
@pytest.mark.parametrize("processes", [1, 2], ids=["none", "none but the one between"])
def test_where_there_can_be_no_process_it_is_said(way: str, processes: int) -> None:
    nobody_else = 500_000 + os.getpid() % 100_000
    _run(_NO_PROCESS, way, str(nobody_else), str(processes))
