"""`agent-manager package`: no node is needed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent_manager.cli.agent_manager import app


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["package", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_a_new_package_is_valid_from_the_start_and_what_comes_next_is_said(tmp_path: Path) -> None:
    code, out, _ = run("new", "my_agent", "--path", str(tmp_path))
    assert code == 0
    assert f"made {tmp_path / 'my_agent'}" in out
    assert f"agent-manager package check {tmp_path / 'my_agent'}" in out
    assert "agentctl show my-agent" in out
    assert [path.name for path in tmp_path.iterdir()] == ["my_agent"]
    code, out, _ = run("check", str(tmp_path / "my_agent"))
    assert code == 0
    assert out.startswith("my_agent is valid\n")
    assert run("check", str(tmp_path / "my_agent" / "agent.yaml"))[1] == out


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("My Agent", "is not valid"),
        ("manager", "is reserved"),
        ("test", "never a package"),
        ("a-b", "is there already"),
    ],
)
def test_a_new_package_needs_a_name_of_its_own_and_overwrites_nothing(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "a_b").mkdir()
    code, _, err = run("new", name, "--path", str(tmp_path))
    assert code == 1
    assert words in err
    assert [path.name for path in tmp_path.iterdir()] == ["a_b"]


def test_a_new_package_needs_a_folder_to_be_made_in(tmp_path: Path) -> None:
    code, _, err = run("new", "it", "--path", str(tmp_path / "nowhere"))
    assert (code, "is no folder; make it" in err) == (1, True)


def test_a_new_package_is_made_where_the_settings_have_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_MANAGER_PACKAGES_DIR", str(tmp_path))
    code, out, _ = run("new", "it")
    assert (code, (tmp_path / "it").is_dir()) == (0, True)
    assert "  agent-manager up    (a node" in out
    monkeypatch.setenv("AGENT_MANAGER_PACKAGES_DIRECTORY", str(tmp_path))
    code, _, err = run("new", "other")
    assert (code, (tmp_path / "other").exists()) == (2, False)
    assert "AGENT_MANAGER_PACKAGES_DIRECTORY" in err


def faulty(root: Path) -> Path:
    folder = root / "it"
    folder.mkdir()
    (folder / "agent.yaml").write_text("entrypoint: gone.py\nreplicas: x\n", encoding="utf-8")
    (folder / "leak").symlink_to("/etc/hostname")
    (folder / "requirements.txt").write_text("-r gone.txt\n", encoding="utf-8")
    return folder


def test_all_faults_are_said_at_once(tmp_path: Path) -> None:
    code, out, _ = run("check", str(faulty(tmp_path)))
    assert code == 1
    lines = out.splitlines()
    assert lines[-1] == "it: 5 faults"
    assert {line.split(": ")[0] for line in lines[:-1]} == {
        "it/agent.yaml:1",
        "it/agent.yaml:2",
        "it",
        "it/requirements.txt:1",
    }


def test_programs_read_json(tmp_path: Path) -> None:
    code, out, _ = run("check", "--json", str(faulty(tmp_path)))
    document = json.loads(out)
    assert code == 1
    assert (document["name"], document["valid"], document["digest"]) == ("it", False, None)
    assert {"file": "it/agent.yaml", "line": 2, "key": "replicas"}.items() <= next(
        fault for fault in document["faults"] if fault["key"] == "replicas"
    ).items()
    run("new", "good", "--path", str(tmp_path))
    code, out, _ = run("check", "--json", str(tmp_path / "good"))
    document = json.loads(out)
    assert (code, document["valid"], document["agent_id"], len(document["digest"])) == (0, True, "good", 64)


@pytest.mark.parametrize("make", [False, True])
def test_what_is_no_package_is_said_to_be_none(tmp_path: Path, make: bool) -> None:
    if make:
        (tmp_path / "it").mkdir()
    code, out, _ = run("check", str(tmp_path / "it"))
    assert code == 1
    assert ("has no agent.yaml" if make else "is no folder") in out
