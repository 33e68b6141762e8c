"""Reading /proc, with and without the kernel's lists of children."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from agent_manager.launcher import proc
from tests.harness.waiting import wait_until


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    program = "import subprocess, sys; subprocess.run(['sleep', '1000'])"
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", program], start_new_session=True) as child:
        wait_until(lambda: len(proc.descendants([child.pid], proc.children_reader())) == 2)
        yield child
        os.killpg(child.pid, 9)


@pytest.mark.parametrize("kernel_has_lists", [True, False])
def test_descendants_are_found_parents_first(
    child: subprocess.Popen[bytes], kernel_has_lists: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os.path, "exists", lambda _path: kernel_has_lists)
    first, second = proc.descendants([child.pid], proc.children_reader())
    assert (first.pid, second.parent) == (child.pid, child.pid)
    assert second.session == child.pid


def test_only_the_process_that_was_seen_is_signalled(child: subprocess.Popen[bytes]) -> None:
    seen = proc.look_at(child.pid)
    assert seen is not None
    namesake = proc.Process(seen.pid, seen.parent, seen.group, seen.session, False, seen.start_time + 1)
    proc.kill(namesake, 9)
    assert child.poll() is None
    proc.kill(seen, 9)
    assert child.wait(20) == -9


def test_a_process_that_is_gone_has_nothing_to_tell() -> None:
    with subprocess.Popen(["true"]) as child:
        child.wait(20)
    gone = proc.Process(child.pid, 0, 0, 0, False, 0)
    proc.kill(gone, 9)
    assert proc.look_at(child.pid) is None
    assert proc.environment_of(child.pid) == frozenset()
