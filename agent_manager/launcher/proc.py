"""What /proc tells about processes. A process may vanish at any moment: then there is simply nothing to tell."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_GONE = (FileNotFoundError, ProcessLookupError)


@dataclass(frozen=True, slots=True)
class Process:
    """A process as seen once. `start_time` (clock ticks since boot) and `pid` together are its identity."""

    pid: int
    parent: int
    group: int
    session: int
    is_zombie: bool
    start_time: int


def look_at(pid: int) -> Process | None:
    """The process with this number at this moment."""
    try:
        stat = _read(f"/proc/{pid}/stat")
    except _GONE:
        return None
    # The name, in parentheses, may hold anything: what counts begins behind its end.
    fields = stat[stat.rindex(b")") + 2 :].split()
    return Process(
        pid=pid,
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        is_zombie=fields[0] in (b"Z", b"X"),
        start_time=int(fields[19]),
    )


def environment_of(pid: int) -> frozenset[bytes]:
    """The `KEY=value` entries it was executed with; none in the middle of an exec or exit, or if we may not look."""
    try:
        return frozenset(entry for entry in _read(f"/proc/{pid}/environ").split(b"\0") if entry)
    except (*_GONE, PermissionError):
        return frozenset()


def all_processes() -> Iterator[Process]:
    """Every process of the system."""
    for name in os.listdir("/proc"):
        if name.isdigit() and (process := look_at(int(name))) is not None:
            yield process


def children_reader() -> Callable[[int], list[int]]:
    """A function from a pid to its children's: from the kernel's lists, or from one scan where it keeps none."""
    return _listed_children if os.path.exists("/proc/thread-self/children") else _ScannedChildren().of


def kill(process: Process, number: int) -> None:
    """Signal exactly this process; nothing happens when it is gone, its number is another's by now, or we may not."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        descriptor = os.pidfd_open(process.pid)
        try:
            now = look_at(process.pid)
            if now is not None and now.start_time == process.start_time:
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)


def descendants(roots: list[int], children_of: Callable[[int], list[int]]) -> list[Process]:
    """The roots and all below them, parents first."""
    found: dict[int, Process] = {}
    pending = list(reversed(roots))
    while pending:
        pid = pending.pop()
        process = look_at(pid)
        if process is not None and pid not in found:
            found[pid] = process
            pending += children_of(pid)
    return list(found.values())


def _listed_children(pid: int) -> list[int]:
    children: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(*_GONE):
                children += map(int, _read(f"/proc/{pid}/task/{thread}/children").split())
    except _GONE:
        return children
    return children


class _ScannedChildren:
    def __init__(self) -> None:
        self._children: dict[int, list[int]] = {}
        for process in all_processes():
            self._children.setdefault(process.parent, []).append(process.pid)

    def of(self, pid: int) -> list[int]:
        return self._children.get(pid, [])


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.readall()
