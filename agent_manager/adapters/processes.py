"""Resource use of processes and size of the host, read with psutil: `ports.processes.ProcessInspector`."""

from __future__ import annotations

import asyncio
import os
import platform
import socket
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import psutil

from agent_manager.ports.processes import Usage


class PsutilProcessInspector:
    """Reads the process table.

    A tree is a process and its descendants by parent id: what detached itself (a daemon) is not seen. What may not be
    read, such as the open files of another user's process, counts as zero.
    """

    async def usage(self, pids: Sequence[int]) -> Mapping[int, Usage]:
        """Use of each process with its descendants; those that are gone, or only wait to be reaped, are left out."""
        return await asyncio.to_thread(_usage, tuple(pids))

    def host(self) -> Mapping[str, str | int | float]:
        """Name and size of this host: hostname, cpus, memory_bytes, platform, python."""
        return {
            "hostname": socket.gethostname(),
            "cpus": os.cpu_count() or 1,
            "memory_bytes": psutil.virtual_memory().total,
            "platform": platform.platform(),
            "python": platform.python_version(),
        }


def _usage(pids: Sequence[int]) -> Mapping[int, Usage]:
    if not pids:
        return {}
    children = _children()
    found = {pid: [use for member in _tree(pid, children) if (use := _own(member)) is not None] for pid in pids}
    return {pid: _sum(uses) for pid, uses in found.items() if uses}


def _children() -> Mapping[int, Sequence[int]]:
    """Process ids by parent, in one pass over the process table however many trees are asked for."""
    children: dict[int, list[int]] = defaultdict(list)
    for process in psutil.process_iter(["ppid"]):
        children[process.info["ppid"]].append(process.pid)
    return children


def _tree(pid: int, children: Mapping[int, Sequence[int]]) -> Iterator[int]:
    waiting, met = [pid], {pid}
    while waiting:
        member = waiting.pop()
        yield member
        # The table is not read in one instant: a reused id could close a circle.
        fresh = [child for child in children.get(member, ()) if child not in met]
        met.update(fresh)
        waiting.extend(fresh)


def _own(pid: int) -> Usage | None:
    """One process alone; None when it is gone."""
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            times = process.cpu_times()
            return Usage(
                processes=1,
                rss_bytes=process.memory_info().rss,
                # With what its ended children used, so that the sum of a tree does not fall when a member ends.
                cpu_s=times.user + times.system + times.children_user + times.children_system,
                threads=process.num_threads(),
                open_files=_open_files(process),
            )
    except (psutil.NoSuchProcess, ProcessLookupError, FileNotFoundError):
        return None
    except (psutil.AccessDenied, PermissionError):
        return Usage(processes=1, rss_bytes=0, cpu_s=0.0, threads=0, open_files=0)


def _open_files(process: psutil.Process) -> int:
    try:
        return process.num_fds()
    except (psutil.AccessDenied, PermissionError):
        return 0


def _sum(uses: Sequence[Usage]) -> Usage:
    return Usage(
        processes=len(uses),
        rss_bytes=sum(use.rss_bytes for use in uses),
        cpu_s=sum(use.cpu_s for use in uses),
        threads=sum(use.threads for use in uses),
        open_files=sum(use.open_files for use in uses),
    )
