"""Cgroups over a directory that looks like one: what is written, and what is done without."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent_manager.launcher import cgroups
from agent_manager.launcher.cgroups import Cgroup, Cgroups
from agent_manager.launcher.limits import UNLIMITED, Limits

ALL = Limits(memory_bytes=64_000_000, cpu=1.5, processes=20, open_files=100, cpu_seconds=5, nice=3)


def bounds(path: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in path.iterdir()}


@pytest.mark.parametrize(
    ("controllers", "written"),
    [
        (
            {"memory", "cpu", "pids"},
            {"memory.max": "64000000", "memory.oom.group": "1", "cpu.max": "150000 100000", "pids.max": "20"},
        ),
        ({"pids"}, {"pids.max": "20"}),
        (set(), {}),
    ],
)
def test_each_controller_that_is_there_bounds_what_it_can(
    tmp_path: Path, controllers: set[str], written: dict[str, str]
) -> None:
    Cgroups(tmp_path, frozenset(controllers)).make("l1", ALL)
    assert bounds(tmp_path / "launch-l1") == written


def test_without_limits_nothing_is_bounded(tmp_path: Path) -> None:
    Cgroups(tmp_path, frozenset(cgroups.CONTROLLERS)).make("l1", UNLIMITED)
    assert bounds(tmp_path / "launch-l1") == {}


def test_a_launch_that_cannot_be_bounded_leaves_nothing(tmp_path: Path) -> None:
    class Refusing(Cgroups):
        def _bounds(self, limits: Limits):  # type: ignore[no-untyped-def]  # as its parent
            yield "no/such/file", "1"

    with pytest.raises(OSError, match="no/such/file"):
        Refusing(tmp_path, frozenset()).make("l1", ALL)
    assert list(tmp_path.iterdir()) == []


def test_kills_for_want_of_memory_are_read(tmp_path: Path) -> None:
    cgroup = Cgroup(tmp_path)
    assert cgroup.oom_kills() == 0
    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 12\noom 2\noom_kill 1\noom_group_kill 1\n")
    assert cgroup.oom_kills() == 1


def test_the_name_of_a_launch_leads_nowhere_else(tmp_path: Path) -> None:
    Cgroups(tmp_path, frozenset()).make("../../elsewhere", UNLIMITED)
    assert os.listdir(tmp_path) == ["launch-.._.._elsewhere"]
