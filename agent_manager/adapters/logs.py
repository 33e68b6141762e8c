"""Output files of instances: `ports.processes.Logs` over one directory."""

from __future__ import annotations

import asyncio
import codecs
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from agent_manager.adapters.log_files import OutputFiles, opened
from agent_manager.domain.errors import UnavailableError
from agent_manager.domain.identifiers import split_instance_id
from agent_manager.ports.processes import OUTPUT_STREAMS, LogPiece, LogTail

T = TypeVar("T")


class LogDirectory:
    """The log files in `directory`.

    Bytes that are no UTF-8 are replaced. Whatever is read raises InvalidRequestError when asked of what is no instance
    id, UnavailableError when a file is there and cannot be read.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def stem(self, instance_id: str) -> str:
        """Path of the instance's output files without `.out.log` and `.err.log`.

        Raises InvalidRequestError when it is no instance id, so that no other path can be reached.
        """
        split_instance_id(instance_id)
        return os.path.abspath(self._directory / instance_id)

    async def tail(self, instance_id: str, *, lines: int, max_bytes: int) -> tuple[LogTail, ...]:
        """The last `lines` lines of each stream that has files, at most `max_bytes` of each, rotated files included.

        A last line without its end is a line. Where `max_bytes` cuts a line, it is left out, unless it is the only one.
        """

        def read(stem: str) -> tuple[LogTail, ...]:
            tails = (_tail(instance_id, stem, stream, lines, max_bytes) for stream in OUTPUT_STREAMS)
            return tuple(tail for tail in tails if tail is not None)

        return await self._read(instance_id, read)

    async def piece(
        self, instance_id: str, stream: str, *, start: int, max_bytes: int, unfinished: bool = False
    ) -> LogPiece:
        """See the port."""
        return await self._read(instance_id, lambda stem: _piece(stem, stream, start, max_bytes, unfinished))

    async def last(self, instance_id: str, stream: str, *, lines: int, max_bytes: int) -> LogPiece:
        """See the port."""
        return await self._read(instance_id, lambda stem: _last(stem, stream, lines, max_bytes))

    async def _read(self, instance_id: str, work: Callable[[str], T]) -> T:
        stem = self.stem(instance_id)
        try:
            return await asyncio.to_thread(work, stem)
        except OSError as error:
            message = f"output files {stem}.*.log cannot be read: {error.strerror or error}"
            raise UnavailableError(message) from error


def _path(stem: str, stream: str) -> str:
    return f"{stem}.{stream}.log"


def _tail(instance_id: str, stem: str, stream: str, lines: int, max_bytes: int) -> LogTail | None:
    path = _path(stem, stream)
    with opened(path) as files:
        if files is None:
            return None
        kept = _last_lines(files, files.end, lines, max_bytes)
        return LogTail(instance_id=instance_id, stream=stream, path=path, lines=_decoded(kept), end_offset=files.end)


def _last(stem: str, stream: str, lines: int, max_bytes: int) -> LogPiece:
    with opened(_path(stem, stream)) as files:
        if files is None:
            return LogPiece(start=0, end=0)
        begun = _begun_line(files, files.end, max_bytes)
        end = files.end - len(begun)
        kept = _last_lines(files, end, lines, max_bytes)
        unfinished = bool(kept) and not kept.endswith(b"\n")
        return LogPiece(start=end - len(kept), end=end, lines=_decoded(kept), unfinished=unfinished)


def _piece(stem: str, stream: str, start: int, max_bytes: int, unfinished: bool) -> LogPiece:
    with opened(_path(stem, stream)) as files:
        if files is None:
            return LogPiece(start=start, end=start)
        # Numbers above the end were given before the files were removed or cut: they begin anew.
        begin = max(start, files.first_byte) if start <= files.end else files.first_byte
        stop = min(files.end, begin + max_bytes)
        data = files.read(begin, stop)
        whole = data.rfind(b"\n") + 1
        is_unfinished = not whole and bool(data) and (unfinished or len(data) >= max_bytes)
        kept = _whole_characters(data) if is_unfinished else data[:whole]
        end = begin + len(kept)
        return LogPiece(
            start=begin,
            end=end,
            lines=_decoded(kept),
            unfinished=is_unfinished,
            more=bool(kept) and stop < files.end,
            held=len(data) - len(kept),
        )


def _begun_line(files: OutputFiles, end: int, max_bytes: int) -> bytes:
    """What has been written of a line that has no end yet; nothing where that is more than a line may have."""
    data = files.read(max(files.first_byte, end - max_bytes), end)
    begun = data[data.rfind(b"\n") + 1 :]
    return begun if len(begun) < max_bytes else b""


def _whole_characters(data: bytes) -> bytes:
    """Without a last character that is cut; everything, where that would leave nothing."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(data)
    rest, _ = decoder.getstate()
    return data[: len(data) - len(rest)] or data


def _last_lines(files: OutputFiles, end: int, lines: int, max_bytes: int) -> bytes:
    """The end of what is before `end`: at most so many lines and bytes."""
    if lines <= 0 or max_bytes <= 0:
        return b""
    blocks: list[bytes] = []
    ends = size = 0
    for block in files.backwards(end):
        blocks.append(block)
        size += len(block)
        ends += block.count(b"\n")
        # One end more than lines: the last line's own end is the first one met.
        if ends > lines or size > max_bytes:
            break
    return _cut(b"".join(reversed(blocks)), lines, max_bytes)


def _cut(data: bytes, lines: int, max_bytes: int) -> bytes:
    kept = data[-max_bytes:]
    if len(kept) < len(data) and not data[: -len(kept)].endswith(b"\n"):
        # A line of which the beginning is missing, unless there is no other.
        kept = kept[kept.find(b"\n", 0, -1) + 1 :]
    pieces = kept.removesuffix(b"\n").split(b"\n")
    dropped = sum(len(piece) + 1 for piece in pieces[:-lines])
    return kept[dropped:]


def _decoded(data: bytes) -> tuple[str, ...]:
    if not data:
        return ()
    pieces = data.removesuffix(b"\n").split(b"\n")
    return tuple(piece.removesuffix(b"\r").decode("utf-8", "replace") for piece in pieces)
