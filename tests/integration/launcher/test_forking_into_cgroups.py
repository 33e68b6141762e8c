"""A child that is born in a cgroup."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.cgroups import a_cgroup

_IN_ITS_CGROUP = """
reader, writer = os.pipe()
pid = linux.fork_into(directory)
if pid == 0:
    os.close(writer)
    os._exit(len(os.read(reader, 1)))
assert Path(sys.argv[1], "cgroup.procs").read_text() == f"{pid}\\n"
os.close(writer)
assert os.waitpid(pid, 0) == (pid, 0)
assert Path(sys.argv[1], "cgroup.procs").read_text() == ""
"""
_CAN_FORK = """
told = []
os.register_at_fork(before=lambda: told.append("before"), after_in_child=lambda: told.append("child"))
pid = linux.fork_into(directory)
if pid == 0:
    assert told == []
    child = os.fork()
    if child == 0:
        os._exit(0 if told == ["before", "child"] else 1)
    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
assert os.waitpid(pid, 0) == (pid, 0)
"""
_NO_CGROUP = """
try:
    linux.fork_into(directory)
except OSError as error:
    assert error.strerror == "Bad file descriptor"
else:
    sys.exit("no error")
try:
    sys.exit(f"a child: {os.waitpid(-1, os.WNOHANG)}")
except ChildProcessError:
    pass
"""


@pytest.fixture
def cgroup() -> Iterator[Path]:
    with a_cgroup() as path:
        yield path


def _run(script: str, directory: Path) -> None:
    """In a process of one thread: that of a test may have more, of which a fork would know nothing."""
    head = "import os, sys\nfrom pathlib import Path\nfrom agent_manager.launcher import linux\n"
    opened = "directory = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)\n"
    done = subprocess.run(
        [sys.executable, "-c", head + opened + script, directory], stderr=subprocess.PIPE, check=False
    )
    assert (done.returncode, done.stderr.decode()) == (os.EX_OK, "")


@pytest.mark.parametrize("script", [_IN_ITS_CGROUP, _CAN_FORK], ids=["in its cgroup", "forks as any process"])
def test_a_child_is_born_in_a_cgroup(cgroup: Path, script: str) -> None:
    _run(script, cgroup)


def test_a_directory_that_is_no_cgroup_is_an_error_and_nothing_is_forked(tmp_path: Path) -> None:
    _run(_NO_CGROUP, tmp_path)
