"""The launcher as PID 1, as in a container: the kernel keeps signals from it that it does not handle."""

import signal
from pathlib import Path

import psutil
import pytest

from tests.harness.launcher import NODE_PYTHON, manager_service, running_launcher, runs, service, start_process
from tests.harness.namespaces import AS_PID_ONE, needs_namespaces, pid_one
from tests.harness.waiting import wait_until

pytestmark = needs_namespaces

_ENDS_IN_ORDER = "trap 'echo bye; exit' TERM; echo ready; while :; do sleep 0.01; done"

_LEAVES_ORPHANS = """
import os, time
for _ in range(20):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(0.1)
        os._exit(0)
print("left", flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP])
def test_it_heeds_every_signal_that_asks_for_the_end_and_exits_with_0(tmp_path: Path, number: signal.Signals) -> None:
    orderly = service("orderly", "sh", "-c", _ENDS_IN_ORDER)
    with running_launcher(tmp_path, orderly, prefix=AS_PID_ONE) as launcher:
        assert launcher.state["pids"]["launcher"] == 1
        wait_until(lambda: launcher.log("orderly.log") == "ready\n")
        pid_one(launcher.process.pid).send_signal(number)
        assert launcher.process.wait(30) == 0
        assert launcher.log("orderly.log") == "ready\nbye\n"
        assert launcher.warnings == ""


def test_it_reaps_what_others_leave_behind(tmp_path: Path) -> None:
    careless = service("careless", *NODE_PYTHON, "-c", _LEAVES_ORPHANS)
    with running_launcher(tmp_path, careless, prefix=AS_PID_ONE) as launcher:
        wait_until(lambda: launcher.log("careless.log") == "left\n")
        init = pid_one(launcher.process.pid)
        lasting = {child_with(init, argument).pid for argument in ("-c", "agent_manager.launcher.log_pump")}
        wait_until(lambda: {child.pid for child in init.children()} == lasting)
        init.terminate()
        assert launcher.process.wait(30) == 0


def test_instances_are_started_watched_and_stopped(tmp_path: Path) -> None:
    with running_launcher(tmp_path, manager_service(tmp_path), prefix=AS_PID_ONE) as launcher:
        manager = launcher.manager
        assert manager.hello["launcher_pid"] == 1
        launcher.spawn("a", "l1", "sh", "-c", "exit 3")
        assert manager.expect("exited", slot="a")["exit"]["code"] == 3
        launcher.spawn("b", "l2", "sh", "-c", "setsid sleep 1000 & echo ready; wait")
        wait_until(lambda: launcher.log("b.out") == "ready\n")
        pid_one(launcher.process.pid).terminate()
        manager.expect("shutdown")
        manager.leave()
        assert launcher.process.wait(30) == 0


def test_a_refusal_is_its_exit_code(tmp_path: Path) -> None:
    refused = start_process(tmp_path, {"protocol": 9}, prefix=AS_PID_ONE)
    assert refused.wait(30) == 2


def child_with(init: psutil.Process, argument: str) -> psutil.Process:
    """The child that was started with this argument; others may end while it is looked for."""
    found: psutil.Process = wait_until(lambda: [child for child in init.children() if runs(child, argument)])[0]
    return found
