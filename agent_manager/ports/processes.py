"""What the operating system and the log files tell of running instances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

OUTPUT_STREAMS = ("out", "err")
"""Of an instance: standard output and standard error, each with bytes that are numbered from 0 on for ever."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LogTail:
    """The end of one output stream. `end_offset` is the number the stream's next byte will have."""

    instance_id: str
    stream: str
    path: str
    lines: tuple[str, ...]
    end_offset: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LogPiece:
    """The lines in the bytes `start` to before `end` of an output stream.

    `unfinished`: the last of them goes on with the byte `end`. `more`: what follows can be read at once. `held`: bytes
    that are there but left out, since their line has no end yet.
    """

    start: int
    end: int
    lines: tuple[str, ...] = ()
    unfinished: bool = False
    more: bool = False
    held: int = 0


class Logs(Protocol):
    """Output files of instances."""

    def stem(self, instance_id: str) -> str:
        """Path of the instance's output files without `.out.log` and `.err.log`."""
        ...

    async def tail(self, instance_id: str, *, lines: int, max_bytes: int) -> Sequence[LogTail]:
        """The last `lines` lines of each stream, at most `max_bytes` of each, rotated files included."""
        ...

    async def piece(
        self, instance_id: str, stream: str, *, start: int, max_bytes: int, unfinished: bool = False
    ) -> LogPiece:
        """Whole lines from byte `start` on; a line longer than `max_bytes` in parts, one without its end if wanted.

        A piece that begins later than asked tells that the bytes between are gone, one that begins earlier that the
        stream's numbers have begun anew.
        """
        ...

    async def last(self, instance_id: str, stream: str, *, lines: int, max_bytes: int) -> LogPiece:
        """The last `lines` whole lines, at most `max_bytes` of them."""
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
