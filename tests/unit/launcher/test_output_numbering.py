"""Bytes of an output keep their numbers whatever happens to its files."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from agent_manager.launcher import output_numbering
from agent_manager.launcher.rotating_file import LogFile, RotatingFile


def stream_of(path: Path) -> tuple[int, bytes]:
    """The number of the oldest byte that is left, and everything from there."""
    parts = [path, *sorted(path.parent.glob(f"{path.name}.*"), key=lambda file: int(file.suffix[1:]))]
    newest = output_numbering.first_byte_of_newest(
        [os.stat(part) for part in parts], output_numbering.read_note(str(path))
    )
    older = b"".join(part.read_bytes() for part in reversed(parts[1:]))
    return newest - len(older), older + path.read_bytes()


@settings(deadline=None, max_examples=60)
@given(
    runs=st.lists(st.lists(st.binary(max_size=50), max_size=10), min_size=1, max_size=5),
    max_bytes=st.integers(min_value=1, max_value=40),
    files=st.integers(min_value=1, max_value=4),
)
def test_numbers_go_on_over_rotations_and_writers(runs: list[list[bytes]], max_bytes: int, files: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "a.log"
        path.touch()
        for writes in runs:
            file = RotatingFile(LogFile(str(path), max_bytes, files))
            for data in writes:
                file.write(data)
            file.close()
        first, kept = stream_of(path)
        everything = b"".join(b"".join(writes) for writes in runs)
        assert everything[first:] == kept
        assert first + len(kept) == len(everything)


def test_a_writer_that_died_between_rotation_and_note_is_made_up_for(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    before = RotatingFile(LogFile(str(path), 10, 3))
    before.write(b"0123456789abcde")
    before.close()
    path.with_suffix(".log.1").rename(path.with_suffix(".log.2"))
    path.rename(path.with_suffix(".log.1"))
    path.write_bytes(b"fg")
    assert stream_of(path) == (0, b"0123456789abcdefg")
    after = RotatingFile(LogFile(str(path), 10, 3))
    after.write(b"hi")
    after.close()
    assert stream_of(path) == (0, b"0123456789abcdefghi")
    assert output_numbering.read_note(str(path)) == output_numbering.Start(path.stat().st_ino, 15)


def test_files_without_a_note_are_numbered_from_the_oldest(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.with_suffix(".log.1").write_bytes(b"older")
    path.write_bytes(b"newer")
    assert stream_of(path) == (0, b"oldernewer")
    Path(output_numbering.note_path(str(path))).write_bytes(b"\xff nonsense")
    assert stream_of(path) == (0, b"oldernewer")


def test_where_the_noted_file_is_gone_no_number_is_given_twice(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.with_suffix(".log.1").write_bytes(b"older")
    path.write_bytes(b"newer")
    output_numbering.write_note(str(path), output_numbering.Start(2**62, 1_000))
    assert stream_of(path)[0] == 1_000


def test_a_note_that_cannot_be_written_stops_no_output(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    Path(f"{output_numbering.note_path(str(path))}.new").mkdir()
    file = RotatingFile(LogFile(str(path), 5, 3))
    file.write(b"0123456789abc")
    file.close()
    assert stream_of(path) == (0, b"0123456789abc")
