"""No process of a launch survives it, and none is harmed before its time."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.harness.cgroups import wants_cgroups
from tests.harness.launcher import NODE_PYTHON, RunningLauncher, process_in, running_launcher
from tests.harness.waiting import wait_until

_FAMILY = (*NODE_PYTHON, str(Path(__file__).with_name("family.py")))
_KINDS = ["child", "session", "daemon", "blank", "nested"]


@pytest.fixture(params=[True, False], ids=["cgroups", "no cgroups"])
def launcher(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[RunningLauncher]:
    if request.param:
        wants_cgroups()
    with running_launcher(tmp_path, cgroups=request.param) as launcher:
        yield launcher


def _spawn_family(launcher: RunningLauncher, slot: str, kind: str) -> tuple[psutil.Process, psutil.Process]:
    """The main process of a launch named as its slot, and its descendant."""
    file = launcher.directory / f"{slot}.pid"
    main = psutil.Process(launcher.spawn(slot, slot, *_FAMILY, kind, str(file)))
    return main, process_in(file)


@pytest.mark.parametrize("kind", _KINDS)
def test_what_a_dead_main_process_leaves_is_killed(launcher: RunningLauncher, kind: str) -> None:
    main, descendant = _spawn_family(launcher, "a", kind)
    main.kill()
    launcher.manager.expect("empty", launch_id="a")
    assert not descendant.is_running()
    order = [message["type"] for message in launcher.manager.of_type("exited", "empty")]
    assert order == ["exited", "empty"]


@pytest.mark.parametrize("kind", _KINDS)
def test_a_signal_to_the_tree_reaches_everybody(launcher: RunningLauncher, kind: str) -> None:
    main, descendant = _spawn_family(launcher, "a", kind)
    launcher.manager.ask("signal", slot="a", launch_id="a", signal="SIGSTOP", scope="tree")
    wait_until(lambda: {main.status(), descendant.status()} == {psutil.STATUS_STOPPED})
    launcher.manager.ask("signal", slot="a", launch_id="a", signal="SIGKILL", scope="tree")
    launcher.manager.expect("empty", launch_id="a")
    assert not descendant.is_running()


def test_a_signal_to_the_process_reaches_nobody_else(launcher: RunningLauncher) -> None:
    main, descendant = _spawn_family(launcher, "a", "child")
    launcher.manager.ask("signal", slot="a", launch_id="a", signal="SIGSTOP", scope="process")
    wait_until(lambda: main.status() == psutil.STATUS_STOPPED)
    assert descendant.status() == psutil.STATUS_SLEEPING


def test_a_daemonized_helper_lives_as_long_as_its_main_process(launcher: RunningLauncher) -> None:
    main, helper = _spawn_family(launcher, "a", "daemon")
    bystander, _ = _spawn_family(launcher, "b", "daemon")
    bystander.kill()
    launcher.manager.expect("empty", launch_id="b")
    assert helper.is_running()
    assert helper.ppid() == launcher.process.pid
    main.kill()
    launcher.manager.expect("empty", launch_id="a")
    assert not helper.is_running()


def test_launches_that_end_together_are_each_emptied(launcher: RunningLauncher) -> None:
    families = [_spawn_family(launcher, f"s{number}", kind) for number, kind in enumerate(_KINDS * 2)]
    for main, _ in families:
        main.kill()
    for number in range(len(families)):
        launcher.manager.expect("empty", launch_id=f"s{number}")
    assert not any(descendant.is_running() for _, descendant in families)


def test_a_launch_that_keeps_leaving_blank_orphans_holds_up_no_other(launcher: RunningLauncher) -> None:
    begun = launcher.directory / "begun"
    restless = f"while env -i setsid -f sleep 0.2; do echo >> {begun}; done"
    other = psutil.Process(launcher.spawn("restless", "restless", "sh", "-c", restless))
    wait_until(lambda: begun.exists() and len(begun.read_text()) > 10)
    main, descendant = _spawn_family(launcher, "a", "daemon")
    main.kill()
    launcher.manager.expect("empty", launch_id="a")
    assert not descendant.is_running()
    assert other.is_running()


def test_a_slot_is_free_again_when_its_tree_is_empty(launcher: RunningLauncher) -> None:
    main, descendant = _spawn_family(launcher, "a", "daemon")
    main.kill()
    launcher.manager.expect("empty", launch_id="a")
    launcher.spawn("a", "a2", "sleep", "1000", expected_launch_id="a")
    assert not descendant.is_running()


def test_a_deadline_ends_the_whole_tree(launcher: RunningLauncher) -> None:
    _, descendant = _spawn_family(launcher, "a", "daemon")
    launcher.manager.ask("update", slot="a", launch_id="a", not_after=0)
    exited = launcher.manager.expect("exited", launch_id="a")
    launcher.manager.expect("empty", launch_id="a")
    assert exited["exit"]["signal"] == 9
    assert not descendant.is_running()
