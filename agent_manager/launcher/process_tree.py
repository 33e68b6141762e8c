"""Which processes belong to which launch, also when the launch's main process is no longer there to ask.

The launcher is a subreaper: what a dead process leaves behind becomes the launcher's child. Hence whatever is left of a
finished launch hangs below a child that the launcher has not forked itself: an orphan. An orphan is attributed to a
launch by its session, its process group or its environment, once: an exec may change the latter.
"""

import os
import signal
import time
from collections.abc import Callable, Collection

from agent_manager.launcher.becoming import LAUNCH_ID_VARIABLE
from agent_manager.launcher.cgroups import Cgroup
from agent_manager.launcher.children import Children
from agent_manager.launcher.proc import Process, children_reader, descendants, environment_of, kill, look_at

_LAUNCH_TAG = LAUNCH_ID_VARIABLE.encode() + b"="
_BLANK_S = 0.1
_DECISION_S = 0.3

_ChildrenOf = Callable[[int], list[int]]


class ProcessTrees:
    """The process trees of the launches that are not empty yet."""

    def __init__(self, children: Children) -> None:
        self._children = children
        self._mains: dict[str, int] = {}
        self._cgroups: dict[str, Cgroup] = {}
        self._launch_of_main: dict[int, str] = {}
        self._attributed: dict[int, tuple[Process, str]] = {}
        self._blank_since: dict[int, float] = {}
        self._clear_since: dict[str, float] = {}
        children.on_orphan_reaped(self._forget_process)

    def add(self, launch_id: str, main_pid: int, cgroup: Cgroup | None) -> None:
        """A launch has begun, in a cgroup of its own if there are any."""
        self._mains[launch_id] = main_pid
        if cgroup is not None:
            self._cgroups[launch_id] = cgroup
        self._launch_of_main[main_pid] = launch_id

    def signal(self, launch_id: str, number: int) -> None:
        """Signal every process of a launch, each once. Its main process must not have been reaped."""
        main_pid = self._mains[launch_id]
        cgroup = self._cgroups.get(launch_id)
        if cgroup is not None and number == signal.SIGKILL:
            cgroup.kill()
        self._children.signal_group(main_pid, number)
        children_of = children_reader()
        helpers = [pid for pid in self._orphans(children_of) if self._launch_of(pid) == launch_id]
        helpers += cgroup.members() if cgroup is not None else []
        for process in descendants([main_pid, *helpers], children_of):
            if main_pid not in (process.pid, process.group):
                kill(process, number)

    def finish(self, launch_ids: Collection[str]) -> tuple[set[str], set[str]]:
        """Kill what is left of launches whose main process has been reaped.

        Returns those of which nothing was left, and those of which that cannot be told yet. To be called again
        whenever an orphan has been reaped, and a little later for the latter.
        """
        children_of = children_reader()
        remaining: set[str] = set()
        for orphan in self._orphans(children_of):
            launch_id = self._launch_of(orphan)
            if launch_id is not None and launch_id in launch_ids:
                remaining.add(launch_id)
                self._kill_below(orphan, launch_id, children_of)
        clear = set(launch_ids) - remaining
        undecided = self._populated(clear) | self._undecided(clear - self._cgroups.keys())
        for launch_id in clear - undecided:
            self._forget_launch(launch_id)
        return clear - undecided, undecided

    def _populated(self, launch_ids: Collection[str]) -> set[str]:
        """Those with living processes in their cgroup, which are killed."""
        populated = {each for each in launch_ids if each in self._cgroups and self._cgroups[each].is_populated}
        for launch_id in populated:
            self._cgroups[launch_id].kill()
        return populated

    def kill_orphans(self) -> bool:
        """Kill every orphan with all below it, whomever it belongs to. Whether there was one."""
        children_of = children_reader()
        orphans = self._orphans(children_of)
        for process in descendants(orphans, children_of):
            kill(process, signal.SIGKILL)
        return bool(orphans)

    def _undecided(self, launch_ids: Collection[str]) -> set[str]:
        """An orphan shows no environment for a moment of an exec or exit: until then it may belong to any launch.

        A launch waits for that only just after its own end: another one may make blank orphans for as long as it lives.
        """
        now = time.monotonic()
        for launch_id in launch_ids:
            self._clear_since.setdefault(launch_id, now)
        if all(now - since >= _BLANK_S for since in self._blank_since.values()):
            return set()
        return {launch_id for launch_id in launch_ids if now - self._clear_since[launch_id] < _DECISION_S}

    def _orphans(self, children_of: _ChildrenOf) -> list[int]:
        forked = self._children.pids
        return [pid for pid in children_of(os.getpid()) if pid not in forked]

    def _kill_below(self, orphan: int, launch_id: str, children_of: _ChildrenOf) -> None:
        members = descendants([orphan], children_of)
        # The death of its parent makes each of them an orphan; it must be known by then.
        self._attributed.update((process.pid, (process, launch_id)) for process in members)
        for process in members:
            kill(process, signal.SIGKILL)

    def _launch_of(self, pid: int) -> str | None:
        process = look_at(pid)
        if process is None:
            return None
        known, launch_id = self._attributed.get(pid, (None, None))
        if known is None or known.start_time != process.start_time:
            launch_id = self._attribute(process)
        if launch_id is not None:
            self._attributed[pid] = (process, launch_id)
        return launch_id

    def _attribute(self, process: Process) -> str | None:
        for leader in (process.session, process.group):
            if leader in self._launch_of_main:
                return self._launch_of_main[leader]
        environment = environment_of(process.pid)
        if environment or process.is_zombie:
            self._blank_since.pop(process.pid, None)
        else:
            self._blank_since.setdefault(process.pid, time.monotonic())
        tags = (entry for entry in environment if entry.startswith(_LAUNCH_TAG))
        launch_ids = (os.fsdecode(tag.removeprefix(_LAUNCH_TAG)) for tag in tags)
        return next((launch_id for launch_id in launch_ids if launch_id in self._mains), None)

    def _forget_process(self, pid: int) -> None:
        self._attributed.pop(pid, None)
        self._blank_since.pop(pid, None)

    def _forget_launch(self, launch_id: str) -> None:
        main_pid = self._mains.pop(launch_id)
        self._clear_since.pop(launch_id, None)
        cgroup = self._cgroups.pop(launch_id, None)
        if cgroup is not None:
            cgroup.remove()
        if self._launch_of_main[main_pid] == launch_id:  # else the number has been recycled for another main process
            del self._launch_of_main[main_pid]
        self._attributed = {pid: known for pid, known in self._attributed.items() if known[1] != launch_id}
