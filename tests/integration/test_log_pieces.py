"""Output read from a byte on: whole lines, exactly once, whatever happens to the files."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_manager.adapters.logs import LogDirectory
from agent_manager.domain.errors import UnavailableError
from agent_manager.launcher.rotating_file import LogFile, RotatingFile
from agent_manager.ports.processes import LogPiece

PLENTY = 1_000_000


def out(directory: Path) -> Path:
    return directory / "echo_0.out.log"


async def piece(directory: Path, start: int, max_bytes: int = PLENTY, *, unfinished: bool = False) -> LogPiece:
    logs = LogDirectory(directory)
    return await logs.piece("echo_0", "out", start=start, max_bytes=max_bytes, unfinished=unfinished)


async def last(directory: Path, lines: int) -> LogPiece:
    return await LogDirectory(directory).last("echo_0", "out", lines=lines, max_bytes=PLENTY)


async def test_what_follows_a_byte_are_whole_lines(tmp_path: Path) -> None:
    out(tmp_path).write_bytes(b"one\ntwo\r\nthr")
    assert await piece(tmp_path, 4) == LogPiece(start=4, end=9, lines=("two",), held=3)
    assert await piece(tmp_path, 9) == LogPiece(start=9, end=9, held=3)
    assert await piece(tmp_path, 9, unfinished=True) == LogPiece(start=9, end=12, lines=("thr",), unfinished=True)


async def test_the_last_lines_leave_out_one_that_is_being_written(tmp_path: Path) -> None:
    out(tmp_path).write_bytes(b"one\ntwo\nthr")
    assert await last(tmp_path, 1) == LogPiece(start=4, end=8, lines=("two",))
    assert await last(tmp_path, 0) == LogPiece(start=8, end=8)


async def test_without_files_there_is_nothing_and_nothing_is_lost(tmp_path: Path) -> None:
    assert await last(tmp_path, 5) == LogPiece(start=0, end=0)
    assert await piece(tmp_path, 7) == LogPiece(start=7, end=7)


async def test_more_than_is_wanted_at_once_is_told(tmp_path: Path) -> None:
    out(tmp_path).write_bytes(b"one\ntwo\nthree\n")
    assert await piece(tmp_path, 0, 9) == LogPiece(start=0, end=8, lines=("one", "two"), more=True, held=1)


async def test_a_line_that_is_too_long_comes_in_parts_between_characters(tmp_path: Path) -> None:
    out(tmp_path).write_bytes("aé€\n".encode())
    assert await piece(tmp_path, 0, 2) == LogPiece(start=0, end=1, lines=("a",), unfinished=True, more=True, held=1)
    assert (await piece(tmp_path, 1, 2)).lines == ("é",)
    assert await piece(tmp_path, 3, 4) == LogPiece(start=3, end=7, lines=("€",))


async def test_bytes_that_are_no_text_are_passed_however_they_are_cut(tmp_path: Path) -> None:
    out(tmp_path).write_bytes(b"\xe2\x82\xff\xe2")
    position, text = 0, ""
    while (part := await piece(tmp_path, position, 1, unfinished=True)).lines:
        position, text = part.end, text + part.lines[0]
    assert (position, text) == (4, "\N{REPLACEMENT CHARACTER}" * 4)


async def test_what_was_rotated_away_is_told_by_its_bytes(tmp_path: Path) -> None:
    file = RotatingFile(LogFile(str(out(tmp_path)), 8, 2))
    for number in range(10):
        file.write(b"%03d\n" % number)
    assert await piece(tmp_path, 4) == LogPiece(start=24, end=40, lines=("006", "007", "008", "009"))
    file.close()


async def test_numbers_that_began_anew_are_read_from_the_oldest_byte(tmp_path: Path) -> None:
    out(tmp_path).write_bytes(b"new\n")
    assert await piece(tmp_path, 1_000) == LogPiece(start=0, end=4, lines=("new",))


async def test_a_file_that_cannot_be_read_is_an_error_that_says_so(tmp_path: Path) -> None:
    out(tmp_path).mkdir()
    with pytest.raises(UnavailableError, match="cannot be read"):
        await piece(tmp_path, 0)


@settings(deadline=None, database=None, max_examples=60)
@given(
    writes=st.lists(st.sampled_from([b"x", b"\n", b"word\n", "é€".encode(), b"y" * 90, b"\xff"]), max_size=40),
    max_bytes=st.integers(4, 60),
    file_bytes=st.integers(20, 200),
)
async def test_pieces_together_are_everything_that_was_written(
    tmp_path_factory: pytest.TempPathFactory, writes: list[bytes], max_bytes: int, file_bytes: int
) -> None:
    directory = tmp_path_factory.mktemp("logs")
    file = RotatingFile(LogFile(str(out(directory)), file_bytes, 100))
    position, read = 0, ""
    for data in [*writes, b"\n"]:
        file.write(data)
        more = True
        while more:
            part = await piece(directory, position, max_bytes)
            assert part.start == position
            read += "\n".join(part.lines) + ("" if part.unfinished or not part.lines else "\n")
            position, more = part.end, part.more
    file.close()
    assert position == sum(map(len, writes)) + 1
    assert read == b"".join([*writes, b"\n"]).decode("utf-8", "replace")


async def test_while_files_rotate_nothing_is_lost_or_repeated(tmp_path: Path) -> None:
    file = RotatingFile(LogFile(str(out(tmp_path)), 2_000, 40))

    def write() -> None:
        for number in range(8_000):
            file.write(b"%d\n" % number)

    writing = asyncio.get_running_loop().run_in_executor(None, write)
    position, read = 0, list[str]()
    while not writing.done() or len(read) < 8_000:
        part = await piece(tmp_path, position, 4_000)
        assert part.start == position
        read.extend(part.lines)
        position = part.end
    await writing
    file.close()
    assert read == [str(number) for number in range(8_000)]
