"""Virtual environments of packages, made by a real installer from local wheels."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from agent_manager.adapters.packages.environments import MARK, VirtualEnvironments
from agent_manager.adapters.packages.installer import Installer, installer_of
from agent_manager.adapters.packages.requirements import UnusableRequirementsError, need_of
from agent_manager.ports.packages import EnvironmentNeed, PreparationError
from tests.harness.waiting import eventually
from tests.harness.wheels import requirements, write_wheel

PIP = Installer(python=sys.executable, uv=None)


def environments(tmp_path: Path, **settings: object) -> VirtualEnvironments:
    made = VirtualEnvironments(
        root=tmp_path / "environments", logs=tmp_path / "logs", installer=PIP, inherited=dict(os.environ)
    )
    return replace(made, **settings)  # type: ignore[arg-type]  # any of its fields


def need(folder: Path, text: str, *, sdk: bool = False, file: str = "requirements.txt") -> EnvironmentNeed:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(text, encoding="utf-8")
    found = need_of(folder, {file}, digest="d1", sdk=sdk)
    assert found is not None
    return found


def said_by(environment: str | None, code: str) -> str:
    assert environment is not None
    done = subprocess.run([f"{environment}/bin/python", "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


async def failure(place: VirtualEnvironments, wanted: EnvironmentNeed) -> str:
    with pytest.raises(PreparationError) as raised:
        await place.make(wanted, "it")
    assert place.ready(wanted) is None
    return str(raised.value.fault)


async def test_what_is_required_is_there_and_so_is_the_sdk_and_packages_share(tmp_path: Path) -> None:
    write_wheel(tmp_path / "wheels", "friendly", "1.2")
    text = requirements(tmp_path / "wheels", "friendly>=1")
    place, wanted = environments(tmp_path), need(tmp_path / "one", text, sdk=True)
    assert place.ready(wanted) is None
    await place.make(wanted, "one")
    ready = place.ready(wanted)
    program = "import friendly, agent_manager.sdk, sys; print(friendly.VERSION, sys.prefix)"
    assert said_by(ready, program) == f"1.2 {ready}"
    assert place.ready(need(tmp_path / "two", text, sdk=True)) == ready
    assert "friendly" in (tmp_path / "logs" / "one.log").read_text(encoding="utf-8")


async def test_the_dependencies_of_a_project_are_installed_without_the_project(tmp_path: Path) -> None:
    write_wheel(tmp_path / "wheels", "friendly")
    project = '[project]\nname = "mine"\nversion = "1"\ndependencies = ["friendly==1.0"]\n'
    wanted = need(tmp_path / "it", project, file="pyproject.toml")
    inherited = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "wheels")}
    place = environments(tmp_path, inherited=inherited)
    await place.make(wanted, "it")
    assert said_by(place.ready(wanted), "import friendly; print(friendly.VERSION)") == "1.0"


async def test_what_cannot_be_installed_is_a_fault_with_the_installers_last_lines(tmp_path: Path) -> None:
    wanted = need(tmp_path / "it", requirements(tmp_path, "nowhere_to_be_found"))
    place = environments(tmp_path)
    told = await failure(place, wanted)
    assert told.startswith("it/requirements.txt: the environment could not be made: `python -m pip install …` ended")
    assert "No matching distribution found for nowhere_to_be_found" in told
    assert "WARNING" not in told
    assert str(tmp_path / "logs" / "it.log") in told
    assert "agentctl package retry it" in told


async def test_requirements_the_sdk_cannot_work_with_are_a_fault(tmp_path: Path) -> None:
    write_wheel(tmp_path / "wheels", "pydantic", "1.0")
    wanted = need(tmp_path / "it", requirements(tmp_path / "wheels", "pydantic==1.0"), sdk=True)
    assert "import agent_manager.sdk" in await failure(environments(tmp_path), wanted)


async def test_an_installer_that_takes_too_long_is_ended_with_what_it_started(tmp_path: Path) -> None:
    slow = tmp_path / "uv"
    slow.write_text("#!/bin/sh\necho getting nowhere\nsleep 600 &\necho $! > child\nwait\n", encoding="utf-8")
    slow.chmod(0o755)
    wanted = need(tmp_path / "it", "friendly\n")
    place = environments(tmp_path, installer=Installer(python=sys.executable, uv=str(slow)), timeout_s=1.0)
    told = await failure(place, wanted)
    assert "was not made within 1 s: getting nowhere" in told
    child = int((tmp_path / "it" / "child").read_text())
    await eventually(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)


async def test_no_more_are_made_at_once_than_there_are_places_and_nobody_else_waits(tmp_path: Path) -> None:
    gate = tmp_path / "uv"
    gate.write_text(
        f'#!/bin/sh\ntouch {tmp_path}/began-$(basename "$PWD")\n'
        f"until [ -e {tmp_path}/go ]; do sleep 0.02; done\n"
        f'mkdir -p "$4"\n',
        encoding="utf-8",
    )
    gate.chmod(0o755)
    place = environments(tmp_path, installer=Installer(python=sys.executable, uv=str(gate)), jobs=2)
    wanted = [need(tmp_path / f"p{number}", f"package{number}\n") for number in range(3)]
    async with asyncio.TaskGroup() as tasks:
        for number, one in enumerate(wanted):
            tasks.create_task(place.make(one, f"p{number}"))
        await eventually(lambda: len(list(tmp_path.glob("began-*"))) == 2)
        (tmp_path / "go").touch()
    assert all(place.ready(one) for one in wanted)


async def test_one_that_was_never_finished_is_made_anew(tmp_path: Path) -> None:
    write_wheel(tmp_path / "wheels", "friendly")
    wanted = need(tmp_path / "it", requirements(tmp_path / "wheels", "friendly"))
    half = tmp_path / "environments" / wanted.key / "venv" / "bin"
    half.mkdir(parents=True)
    (half / "python").write_text("broken", encoding="utf-8")
    place = environments(tmp_path)
    assert place.ready(wanted) is None
    await place.make(wanted, "it")
    assert said_by(place.ready(wanted), "import friendly; print(friendly.VERSION)") == "1.0"


async def test_what_nobody_uses_is_removed_and_what_is_used_stays(tmp_path: Path) -> None:
    place = environments(tmp_path, keep_s=0.0)
    for name in ("used", "unused", "half"):
        (tmp_path / "environments" / name / "venv").mkdir(parents=True)
        if name != "half":
            (tmp_path / "environments" / name / MARK).touch()
    patient = environments(tmp_path, keep_s=3600.0)
    await patient.keep_only([])
    assert sorted(os.listdir(tmp_path / "environments")) == ["unused", "used"]
    await place.keep_only([str(tmp_path / "environments" / "used" / "venv")])
    assert os.listdir(tmp_path / "environments") == ["used"]


async def test_requirements_that_change_while_they_are_installed_are_not_taken_for_the_old_ones(tmp_path: Path) -> None:
    write_wheel(tmp_path / "wheels", "friendly")
    wanted = need(tmp_path / "it", requirements(tmp_path / "wheels", "friendly"))
    (tmp_path / "it" / "requirements.txt").write_text(
        requirements(tmp_path / "wheels", "friendly", "# other", "friendly==1.0"), encoding="utf-8"
    )
    assert "changed while it was read" in await failure(environments(tmp_path), wanted)


def test_uv_is_used_where_there_is_one(tmp_path: Path) -> None:
    uv = tmp_path / "bin" / "uv"
    uv.parent.mkdir()
    uv.touch(mode=0o755)
    found = installer_of({"PATH": str(uv.parent)})
    assert found.uv == str(uv)
    make, install = found.commands(tmp_path / "env", "requirements.txt")
    assert make[:2] == (str(uv), "venv")
    assert install[:3] == (str(uv), "pip", "install")


def test_a_key_stands_for_the_requirements_and_for_the_package_only_where_they_name_its_files(tmp_path: Path) -> None:
    def key(text: str, digest: str = "d1") -> str | None:
        (tmp_path / "requirements.txt").write_text(text, encoding="utf-8")
        found = need_of(tmp_path, {"requirements.txt"}, digest=digest, sdk=False)
        return found.key if found is not None else None

    (tmp_path / "more.txt").write_text("b\n", encoding="utf-8")
    assert key("# nothing\n\n--no-index\n") is None
    assert key("a  # why\n") == key("a\n\n# said\n", "d2")
    assert key("a\n") != key("b\n")
    assert key("a\n-r more.txt\n") == key("a\n-r more.txt\n", "d2")
    before = key("-r more.txt\n")
    (tmp_path / "more.txt").write_text("c\n", encoding="utf-8")
    assert key("-r more.txt\n") != before
    for own in ("-e .\n", "./wheels/a.whl\n", "a\n--find-links wheels\n", "a @ file:wheels/a.whl\n"):
        assert key(own) != key(own, "d2"), own
    for shared in ("a\n--find-links /srv/wheels\n", "a @ https://example.com/a.whl\n", "a @ file:///srv/a.whl\n"):
        assert key(shared) == key(shared, "d2"), shared


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("requirements.txt", "a\n-r gone.txt\n", "includes gone.txt, which is no file of the folder"),
        ("requirements.txt", "-r ../up.txt\n", "includes ../up.txt, which is no file of the folder"),
        ("requirements.txt", "-r requirements.txt\n", "which includes it"),
        ("pyproject.toml", "[project\n", "is not valid TOML"),
        ("pyproject.toml", '[project]\ndynamic = ["dependencies"]\n', "list them here"),
        ("pyproject.toml", "[project]\ndependencies = [3]\n", "must be a list of strings"),
        ("pyproject.toml", '[project]\nrequires-python = ">=4.0"\ndependencies = ["a"]\n', "requires-python is >=4.0"),
        ("pyproject.toml", '[project]\nrequires-python = "<3.11"\ndependencies = ["a"]\n', "requires-python is <3.11"),
    ],
)
def test_files_that_say_nothing_that_can_be_installed_are_faults(
    tmp_path: Path, file: str, text: str, words: str
) -> None:
    (tmp_path / file).write_text(text, encoding="utf-8")
    with pytest.raises(UnusableRequirementsError) as raised:
        need_of(tmp_path, {file}, digest="", sdk=False)
    assert raised.value.file == file
    assert words in raised.value.problem.message


@pytest.mark.parametrize("text", ["[tool.ruff]\n", '[project]\nname = "a"\n', "[project]\ndependencies = []\n"])
def test_a_project_that_needs_nothing_runs_in_the_managers_environment(tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    assert need_of(tmp_path, {"pyproject.toml"}, digest="", sdk=True) is None
