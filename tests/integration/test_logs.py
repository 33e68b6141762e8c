"""The ends of log files."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_manager.adapters.logs import LogDirectory
from agent_manager.domain.errors import InvalidRequestError, UnavailableError

PLENTY = 1_000_000


async def lines_of(directory: Path, *, lines: int = 10, max_bytes: int = PLENTY) -> tuple[str, ...]:
    (tail,) = await LogDirectory(directory).tail("echo_0", lines=lines, max_bytes=max_bytes)
    return tail.lines


async def test_both_streams_are_told_apart_and_say_where_they_end(tmp_path: Path) -> None:
    (tmp_path / "echo_0.out.log").write_bytes(b"one\ntwo\n")
    (tmp_path / "echo_0.err.log").write_bytes(b"bad\n")
    (tmp_path / "echo_1.out.log").write_bytes(b"another instance\n")
    out, err = await LogDirectory(tmp_path).tail("echo_0", lines=10, max_bytes=PLENTY)
    assert (out.instance_id, out.stream, out.lines, out.end_offset) == ("echo_0", "out", ("one", "two"), 8)
    assert (err.stream, err.lines, err.end_offset) == ("err", ("bad",), 4)
    assert out.path == LogDirectory(tmp_path).stem("echo_0") + ".out.log" == str(tmp_path / "echo_0.out.log")


async def test_without_files_there_is_no_entry(tmp_path: Path) -> None:
    assert await LogDirectory(tmp_path).tail("echo_0", lines=10, max_bytes=PLENTY) == ()
    assert await LogDirectory(tmp_path / "nowhere").tail("echo_0", lines=10, max_bytes=PLENTY) == ()


async def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    (tmp_path / "echo_0.out.log").touch()
    assert await lines_of(tmp_path) == ()


async def test_lines_reach_back_into_rotated_files(tmp_path: Path) -> None:
    (tmp_path / "echo_0.out.log.2").write_bytes(b"1\n2\n3")
    (tmp_path / "echo_0.out.log.1").write_bytes(b"-cut\n4\n")
    (tmp_path / "echo_0.out.log").write_bytes(b"5\n")
    assert await lines_of(tmp_path, lines=4) == ("2", "3-cut", "4", "5")
    assert await lines_of(tmp_path, lines=100) == ("1", "2", "3-cut", "4", "5")


async def test_between_rotation_and_the_next_write_the_rotated_file_is_enough(tmp_path: Path) -> None:
    (tmp_path / "echo_0.out.log.1").write_bytes(b"last words\n")
    (tail,) = await LogDirectory(tmp_path).tail("echo_0", lines=5, max_bytes=PLENTY)
    assert (tail.lines, tail.end_offset) == (("last words",), 11)


async def test_a_line_still_being_written_is_a_line(tmp_path: Path) -> None:
    (tmp_path / "echo_0.out.log").write_bytes(b"whole\nhalf")
    assert await lines_of(tmp_path, lines=1) == ("half",)


async def test_a_line_cut_by_the_limit_of_bytes_is_left_out_unless_it_is_the_only_one(tmp_path: Path) -> None:
    (tmp_path / "echo_0.out.log").write_bytes(b"aaaa\nbbbb\ncccc\n")
    assert await lines_of(tmp_path, max_bytes=12) == ("bbbb", "cccc")
    assert await lines_of(tmp_path, max_bytes=10) == ("bbbb", "cccc")
    assert await lines_of(tmp_path, max_bytes=3) == ("cc",)


async def test_nothing_asked_for_is_nothing_told(tmp_path: Path) -> None:
    (tmp_path / "echo_0.out.log").write_bytes(b"a\n")
    assert await lines_of(tmp_path, lines=0) == ()
    assert await lines_of(tmp_path, max_bytes=0) == ()


async def test_bytes_that_are_no_text_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "echo_0.out.log").write_bytes(b"caf\xc3\xa9 \xff\x00\r\n")
    assert await lines_of(tmp_path) == ("café �\x00",)


@pytest.mark.parametrize("instance_id", ["../etc/passwd", "echo", "echo_0/../x_1", "", "echo_0\n"])
async def test_only_files_of_instances_can_be_reached(tmp_path: Path, instance_id: str) -> None:
    with pytest.raises(InvalidRequestError):
        await LogDirectory(tmp_path).tail(instance_id, lines=1, max_bytes=1)


async def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "echo_0.out.log").mkdir()
    with pytest.raises(UnavailableError, match=r"echo_0\.\*\.log cannot be read: Is a directory"):
        await LogDirectory(tmp_path).tail("echo_0", lines=1, max_bytes=PLENTY)


async def test_a_large_file_is_read_from_its_end_only(tmp_path: Path) -> None:
    with (tmp_path / "echo_0.out.log").open("wb") as file:
        file.truncate(1 << 40)
        file.seek(0, 2)
        file.write(b"\nthe end\n")
    (tail,) = await LogDirectory(tmp_path).tail("echo_0", lines=1, max_bytes=PLENTY)
    assert tail.lines == ("the end",)
    assert tail.end_offset == (1 << 40) + 9


@settings(deadline=None, database=None, max_examples=60)
@given(
    parts=st.lists(
        st.lists(st.sampled_from([b"x", b"\n", b"word\n", b"y" * 70_000]), max_size=12).map(b"".join),
        min_size=1,
        max_size=4,
    ),
    lines=st.integers(1, 20),
)
async def test_the_tail_is_the_end_of_all_parts_together(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], lines: int
) -> None:
    directory = tmp_path_factory.mktemp("logs")
    for number, part in enumerate(reversed(parts)):
        suffix = f".{number}" if number else ""
        (directory / f"echo_0.out.log{suffix}").write_bytes(part)
    whole = b"".join(parts).decode()
    expected = whole.removesuffix("\n").split("\n")[-lines:] if whole else []
    assert await lines_of(directory, lines=lines, max_bytes=10_000_000) == tuple(expected)


async def test_while_files_rotate_lines_are_neither_doubled_nor_out_of_order(tmp_path: Path) -> None:
    path, kept = tmp_path / "echo_0.out.log", 4
    path.touch()

    def write_and_rotate() -> None:
        for number in range(600):
            with path.open("ab") as file:
                file.write(b"%d\n" % number)
            if number % 3 == 2:
                for old in range(kept - 1, 0, -1):
                    if (rotated := Path(f"{path}.{old}")).exists():
                        rotated.rename(f"{path}.{old + 1}")
                path.rename(f"{path}.1")
                path.touch()

    writing = asyncio.get_running_loop().run_in_executor(None, write_and_rotate)
    while not writing.done():
        numbers = [int(line) for line in await lines_of(tmp_path, lines=9)]
        assert numbers == sorted(set(numbers))
    await writing
