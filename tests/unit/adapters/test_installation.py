from __future__ import annotations

import stat
from pathlib import Path

import pytest

from agent_manager.adapters.installation import DATABASE, InstallationError, load_or_create


def test_the_ids_are_made_once_and_nobody_else_may_read_them(tmp_path: Path) -> None:
    made = load_or_create(tmp_path)
    assert load_or_create(tmp_path) == made
    assert stat.S_IMODE((tmp_path / "node.json").stat().st_mode) == 0o600
    assert len({made.node_id, made.cluster_id, made.tag}) == 3


def test_every_installation_has_ids_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    assert load_or_create(tmp_path) != load_or_create(tmp_path / "other")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"7",
        b"{}",
        b'{"node_id": "node-1", "cluster_id": "c"}',
        b'{"node_id": 1, "cluster_id": "c", "tag": "t"}',
        b'{"node_id": "not a token", "cluster_id": "c", "tag": "t"}',
    ],
)
def test_a_file_that_cannot_be_used_is_named_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "node.json"
    path.write_bytes(content)
    with pytest.raises(InstallationError, match=r"node\.json cannot be used .* Restore it, or move"):
        load_or_create(tmp_path)
    assert path.read_bytes() == content


def test_ids_that_are_lost_while_the_database_is_there_are_not_made_anew(tmp_path: Path) -> None:
    load_or_create(tmp_path)
    (tmp_path / "node.json").unlink()
    (tmp_path / DATABASE).touch()
    with pytest.raises(InstallationError, match="Restore it, or move"):
        load_or_create(tmp_path)
    assert not (tmp_path / "node.json").exists()
