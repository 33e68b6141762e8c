"""One service, over children and a loop that only remember what they were asked."""

import signal
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from agent_manager.launcher.exits import Exit
from agent_manager.launcher.run_tag import RunTag
from agent_manager.launcher.service_runner import ServiceRunner
from agent_manager.launcher.service_table import Service

SERVICE = Service(
    name="it",
    argv=("it",),
    env={},
    cwd="/",
    output="inherit",
    ready=None,
    stop_signal=signal.SIGTERM,
    stop_timeout_s=10.0,
)


class _Children:
    def __init__(self) -> None:
        self.started: list[Callable[[Exit], None]] = []

    def start(self, program: Any, *, on_started: Any, on_exit: Callable[[Exit], None]) -> int:
        self.started.append(on_exit)
        return 100 + len(self.started)

    def signal(self, pid: int, number: int) -> None:
        pass


class _Loop:
    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Any:
        self.due.append(callback)
        return SimpleNamespace(cancel=lambda: self.due.remove(callback), cancelled=False)


def _running() -> tuple[ServiceRunner, _Children, _Loop]:
    children, loop = _Children(), _Loop()
    parts: dict[str, Any] = {"loop": loop, "children": children, "pump": None, "controller": None}
    runner = ServiceRunner(SERVICE, **parts, tag=RunTag("installation", "run"), log_dir="/")
    runner.start(on_ready=lambda: None, on_started=lambda: None)
    return runner, children, loop


def _ended() -> Exit:
    return Exit(
        pid=101, code=0, signal=None, core_dumped=False, max_rss_kb=0, user_s=0.0, system_s=0.0, ended_at=time.time()
    )


def test_a_service_that_still_ends_is_not_started_beside_itself() -> None:
    runner, children, loop = _running()
    suspended: list[str] = []
    runner.suspend(lambda: suspended.append("told"))
    runner.resume()
    assert len(children.started) == 1
    children.started[0](_ended())
    assert suspended == []
    loop.due[-1]()
    assert (len(children.started), runner.pid) == (2, 102)


def test_a_service_that_has_ended_is_started_at_once() -> None:
    runner, children, _ = _running()
    suspended: list[str] = []
    runner.suspend(lambda: suspended.append("told"))
    children.started[0](_ended())
    assert (suspended, len(children.started)) == (["told"], 1)
    runner.resume()
    assert len(children.started) == 2


def test_what_was_not_suspended_is_left_alone() -> None:
    runner, children, _ = _running()
    runner.resume()
    assert len(children.started) == 1
