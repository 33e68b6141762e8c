"""Log files stay within their bounds and never raise."""

import errno
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_manager.launcher.rotating_file import LogFile, RotatingFile


def _contents(path: Path) -> bytes:
    """All files, oldest first."""
    older = sorted(path.parent.glob(f"{path.name}.*"), key=lambda file: -int(file.suffix[1:]))
    return b"".join(file.read_bytes() for file in [*older, path])


@settings(deadline=None, max_examples=60)
@given(
    writes=st.lists(st.binary(max_size=50), max_size=30),
    max_bytes=st.integers(min_value=1, max_value=40),
    files=st.integers(min_value=1, max_value=4),
)
def test_the_newest_bytes_are_kept_within_the_bounds(writes: list[bytes], max_bytes: int, files: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "a.log"
        path.touch()
        file = RotatingFile(LogFile(str(path), max_bytes, files))
        for data in writes:
            file.write(data)
        file.close()
        kept = _contents(path)
        assert b"".join(writes).endswith(kept)
        assert len(kept) >= min(len(b"".join(writes)), max_bytes * (files - 1) + 1)
        logs = list(Path(directory).glob("a.log*"))
        assert all(os.path.getsize(log) <= max_bytes for log in logs)
        assert len(logs) <= files


def test_an_existing_file_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"before ")
    file = RotatingFile(LogFile(str(path), 10, 2))
    file.write(b"afterwards")
    file.close()
    assert (path.with_suffix(".log.1").read_bytes(), path.read_bytes()) == (b"before aft", b"erwards")


def test_missing_directories_are_made(tmp_path: Path) -> None:
    path = tmp_path / "not" / "there" / "a.log"
    file = RotatingFile(LogFile(str(path), 100, 2))
    file.write(b"hello")
    file.close()
    assert path.read_bytes() == b"hello"
    assert path.stat().st_mode & 0o777 == 0o640


def test_what_is_lost_is_told_once_writing_works_again(tmp_path: Path) -> None:
    obstacle = tmp_path / "logs"
    obstacle.write_text("not a directory")
    file = RotatingFile(LogFile(str(obstacle / "a.log"), 1000, 2))
    file.write(b"12345")
    file.write(b"678")
    obstacle.unlink()
    file.write(b"here again\n")
    file.close()
    assert (obstacle / "a.log").read_text() == "\n[log pump: 8 bytes of output lost: File exists]\nhere again\n"


def test_a_loss_at_the_end_is_told_when_the_file_is_closed(tmp_path: Path) -> None:
    obstacle = tmp_path / "logs"
    obstacle.write_text("not a directory")
    file = RotatingFile(LogFile(str(obstacle / "a.log"), 1000, 2))
    file.write(b"12345")
    obstacle.unlink()
    file.close()
    assert "5 bytes of output lost" in (obstacle / "a.log").read_text()


def test_what_is_no_regular_file_is_not_written_to(tmp_path: Path) -> None:
    fifo = tmp_path / "a.log"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    file = RotatingFile(LogFile(str(fifo), 1000, 2))
    file.write(b"12345")
    file.close()
    assert os.read(reader, 10) == b""
    os.close(reader)


def test_a_full_disk_costs_the_output_that_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.log"
    file = RotatingFile(LogFile(str(path), 1000, 2))
    file.write(b"fits\n")
    with monkeypatch.context() as full_disk:
        full_disk.setattr(os, "write", _refuse)
        file.write(b"12345")
    file.write(b"67\n")
    file.close()
    assert path.read_text() == "fits\n\n[log pump: 5 bytes of output lost: No space left on device]\n67\n"


def _refuse(_descriptor: int, _data: bytes) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
