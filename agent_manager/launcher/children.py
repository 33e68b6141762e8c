"""The launcher's children: starting them, and learning of their exits from the kernel."""

import contextlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass

from agent_manager.launcher.becoming import Program
from agent_manager.launcher.event_loop import EventLoop
from agent_manager.launcher.exits import Exit
from agent_manager.launcher.spawning import ExecStatus, Spawner, SpawnFailure


@dataclass(slots=True)
class _Child:
    status: ExecStatus | None
    on_started: Callable[[SpawnFailure | None], None]
    on_exit: Callable[[Exit], None]


class Children:
    """The processes this launcher has started and not yet reaped. Meanwhile their numbers cannot be recycled."""

    def __init__(self, loop: EventLoop, spawner: Spawner) -> None:
        self._loop = loop
        self._spawner = spawner
        self._children: dict[int, _Child] = {}
        self._orphan_listeners: list[Callable[[int], None]] = []
        self._before_orphans: list[Callable[[], None]] = []
        loop.on_signals([signal.SIGCHLD], self.reap)

    @property
    def pids(self) -> frozenset[int]:
        """The processes started from here and not yet reaped."""
        return frozenset(self._children)

    def on_orphan_reaped(self, listener: Callable[[int], None]) -> None:
        """Tell the listener the pid of each dead child that was inherited, not started."""
        self._orphan_listeners.append(listener)

    def before_orphans(self, callback: Callable[[], None]) -> None:
        """Call back before a dead child counts as an orphan: it may be one that is still to be adopted."""
        self._before_orphans.append(callback)

    def start(
        self,
        program: Program,
        *,
        on_started: Callable[[SpawnFailure | None], None],
        on_exit: Callable[[Exit], None],
    ) -> int:
        """Start it; the pid. `on_started` tells how the exec went and always comes before `on_exit`. Raises OSError."""
        pid, status = self._spawner.spawn(program)
        self.adopt(pid, status, on_started=on_started, on_exit=on_exit)
        return pid

    def adopt(
        self,
        pid: int,
        status: ExecStatus | None,
        *,
        on_started: Callable[[SpawnFailure | None], None],
        on_exit: Callable[[Exit], None],
    ) -> None:
        """Follow a process that is, or is about to become, a child.

        Without a status it is known already that the program runs.
        """
        self._children[pid] = child = _Child(status, on_started, on_exit)
        if status is not None:
            self._loop.watch(status.fileno(), lambda: self._read_status(child))

    def signal(self, pid: int, number: int) -> None:
        """Signal one process, if it is (still) here."""
        if pid in self._children:
            with contextlib.suppress(PermissionError):  # it has changed its user
                os.kill(pid, number)

    def kill_all(self, *, but: int | None) -> bool:
        """SIGKILL every child but this one. Whether there was one."""
        others = self._children.keys() - {but}
        for pid in others:
            self.signal(pid, signal.SIGKILL)
        return bool(others)

    def signal_group(self, pid: int, number: int) -> None:
        """Signal the process group that this process leads, if the process is (still) here."""
        if pid not in self._children:
            return
        try:
            os.killpg(pid, number)
        except ProcessLookupError:
            self.signal(pid, number)  # it has not got to its setsid yet, and is alone
        except PermissionError:
            return  # all of the group have changed their user

    def _read_status(self, child: _Child, *, ended: bool = False) -> None:
        if child.status is None:
            return
        try:
            failure = child.status.read(ended=ended)
        except BlockingIOError:
            return
        self._loop.unwatch(child.status.fileno())
        child.status.close()
        child.status = None
        child.on_started(failure)

    def reap(self) -> None:
        """Take note of every child that has ended. Signals ask for it, but for what ended before there were any."""
        while (pid := _next_zombie()) is not None:
            if pid not in self._children:
                for callback in self._before_orphans:
                    callback()
            # While the zombie is there, its number and its group's are nobody else's.
            self.signal_group(pid, signal.SIGKILL)
            _, status, usage = os.wait4(pid, 0)
            child = self._children.pop(pid, None)
            if child is None:
                for listener in self._orphan_listeners:
                    listener(pid)
                continue
            self._read_status(child, ended=True)
            child.on_exit(Exit.now(pid, status, usage))


def _next_zombie() -> int | None:
    try:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return ended.si_pid if ended else None
