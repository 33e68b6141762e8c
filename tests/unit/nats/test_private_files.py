from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent_manager.adapters.nats.private_files import create_private, make_private_directory, write_private


@pytest.fixture(autouse=True)
def generous_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_its_owners_alone_whatever_the_umask(tmp_path: Path, durable: bool) -> None:
    write_private(tmp_path / "a", "text", durable=durable)
    assert (mode(tmp_path / "a"), (tmp_path / "a").read_text()) == (0o600, "text")


def test_a_file_that_others_could_read_is_replaced_by_one_they_cannot(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("before")
    (tmp_path / "a").chmod(0o644)
    write_private(tmp_path / "a", "after")
    assert (mode(tmp_path / "a"), (tmp_path / "a").read_text()) == (0o600, "after")


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("before")
    (tmp_path / "a").symlink_to(tmp_path / "target")
    write_private(tmp_path / "a", "secret")
    assert (tmp_path / "target").read_text() == "before"


def test_a_failed_write_leaves_the_file_as_it_was_and_nothing_else(tmp_path: Path) -> None:
    write_private(tmp_path / "a", "before")
    with pytest.raises(UnicodeEncodeError):
        write_private(tmp_path / "a", "\ud800")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "before")]


def test_a_directory_is_its_owners_alone_also_when_it_was_there(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir(mode=0o755)
    for name in ("there", "new"):
        make_private_directory(tmp_path / name)
        assert mode(tmp_path / name) == 0o700


def test_a_file_is_made_for_its_owner_alone_and_one_that_is_there_is_left(tmp_path: Path) -> None:
    create_private(tmp_path / "a", "text" * 10_000)
    assert (tmp_path / "a").read_text() == "text" * 10_000
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        create_private(tmp_path / "a", "other")
    assert (tmp_path / "a").read_text() == "text" * 10_000


def test_nothing_is_left_of_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        create_private(tmp_path / "a", "\ud800")
    assert list(tmp_path.iterdir()) == []
