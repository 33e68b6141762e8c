"""What the operating system and the log files tell of running instances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class LogTail:
    """The end of one output stream. `end_offset` is the size of the present file in bytes."""

    instance_id: str
    stream: str
    path: str
    lines: tuple[str, ...]
    end_offset: int


class Logs(Protocol):
    """Output files of instances."""

    def stem(self, instance_id: str) -> str:
        """Path of the instance's output files without `.out.log` and `.err.log`."""
        ...

    async def tail(self, instance_id: str, *, lines: int, max_bytes: int) -> Sequence[LogTail]:
        """The last `lines` lines of each stream, at most `max_bytes` of each, rotated files included."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """Resources of a process tree at this moment. `cpu_s` counts since its start."""

    processes: int
    rss_bytes: int
    cpu_s: float
    threads: int
    open_files: int


class ProcessInspector(Protocol):
    """Reads the resource use of processes."""

    async def usage(self, pids: Sequence[int]) -> Mapping[int, Usage]:
        """Use of each process with its descendants; those that are gone are left out."""
        ...

    def host(self) -> Mapping[str, str | int | float]:
        """Name and size of this host: hostname, cpus, memory_bytes, platform, python."""
        ...
