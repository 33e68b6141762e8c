"""When the launcher is killed nothing of it is left, neither by its pump nor for the next launcher."""

from pathlib import Path

import psutil
import pytest

from tests.harness.cgroups import wants_cgroups
from tests.harness.launcher import (
    NODE_PYTHON,
    has_ended,
    process_in,
    running_launcher,
    service,
    start_process,
)
from tests.harness.waiting import wait_until

_FAMILY = (*NODE_PYTHON, str(Path(__file__).with_name("family.py")))


def test_the_pump_kills_what_a_killed_launcher_leaves(tmp_path: Path) -> None:
    with running_launcher(tmp_path) as launcher:
        for kind in ("child", "session", "daemon", "nested"):
            launcher.spawn(kind, kind, *_FAMILY, kind, str(tmp_path / kind))
        family = [process_in(tmp_path / kind) for kind in ("child", "session", "daemon", "nested")]
        everybody = psutil.Process(launcher.process.pid).children(recursive=True)
        launcher.process.kill()
        wait_until(lambda: all(map(has_ended, [*family, *everybody])))


def test_the_pump_kills_what_has_thrown_its_environment_away(tmp_path: Path) -> None:
    wants_cgroups()
    with running_launcher(tmp_path) as launcher:
        left_behind = f"echo $$ > {tmp_path}/pid; exec sleep 1000"
        launcher.spawn("a", "l1", "sh", "-c", f"setsid env -i sh -c '{left_behind}' & exec sleep 1000")
        left = process_in(tmp_path / "pid")
        launcher.process.kill()
        wait_until(lambda: has_ended(left))


def test_the_pump_saves_what_was_written_before_the_launcher_was_killed(tmp_path: Path) -> None:
    with running_launcher(tmp_path) as launcher:
        launcher.spawn("a", "l1", "sh", "-c", f"head -c 60000 /dev/zero; touch {tmp_path}/written; exec sleep 1000")
        pump = launcher.pump
        wait_until((tmp_path / "written").exists)
        launcher.process.kill()
        wait_until(lambda: has_ended(pump))
        assert len(launcher.log("a.out")) == 60000


@pytest.mark.parametrize("kind", ["child", "daemon", "nested"])
def test_the_next_launcher_kills_what_an_earlier_run_has_left(tmp_path: Path, kind: str) -> None:
    family = service("family", *_FAMILY, kind, str(tmp_path / "descendant"))
    with running_launcher(tmp_path, family) as launcher:
        descendant = process_in(tmp_path / "descendant")
        # Without its pump there is nobody to do it at once.
        psutil.Process(launcher.process.pid).suspend()
        launcher.pump.kill()
        launcher.process.kill()
        launcher.process.wait()
        assert not has_ended(descendant)
        (tmp_path / "descendant").unlink()
        launcher.process = start_process(tmp_path, launcher.table)
        process_in(tmp_path / "descendant")
        assert has_ended(descendant)


def test_processes_of_other_installations_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with running_launcher(tmp_path / "one", service("sleep", "sleep", "1000")) as first:
        pid = first.state["pids"]["sleep"]
        with running_launcher(tmp_path / "two", service("sleep", "sleep", "1000")) as second:
            assert second.state
            second.process.kill()
            wait_until(lambda: not second.processes())
        assert first.state["pids"]["sleep"] == pid
        assert psutil.Process(pid).is_running()
