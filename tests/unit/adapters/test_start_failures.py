"""What is behind the kernel's word for a failed start. Messages are those the launcher has for the same files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from agent_manager.adapters.launch_recipe import ProcessStart
from agent_manager.adapters.start_failures import explained
from agent_manager.adapters.users import SystemUser
from agent_manager.domain.specification import LogPolicy, ResourceLimits

ABSENT, DENIED, FORMAT = "No such file or directory", "Permission denied", "Exec format error"
SOMEBODY = SystemUser(uid=54_321, gid=54_322, groups=(54_322, 54_323), name="somebody", home="/", shell="/bin/sh")


def start(
    program: str, directory: Path, *, path: str = "/usr/bin:/bin", user: SystemUser | None = None
) -> ProcessStart:
    return ProcessStart(
        argv=(program, "--option"),
        environment={"PATH": path},
        working_directory=str(directory),
        output={},
        logs=LogPolicy(),
        limits=ResourceLimits(),
        user=user,
        no_new_privileges=False,
        zygote=None,
    )


def script(path: Path, text: str, mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    path.chmod(mode)
    return path


def cause(kernel: str, of: ProcessStart) -> str:
    """What is added to the launcher's message; empty where nothing is."""
    message = f"exec failed: {of.argv[0]!r}: {kernel}"
    told = explained(message, of)
    assert told.startswith(message)
    return told.removeprefix(message).strip()


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A directory that everybody may enter, all the way; pytest's own are closed to others."""
    with TemporaryDirectory(prefix="start-failures-") as directory:
        os.chmod(directory, 0o755)
        yield Path(directory).resolve()


@pytest.mark.parametrize(
    ("first_line", "what"),
    [
        ("#!/no/such/shell -e", "(its first line asks for '/no/such/shell', which is not there)"),
        ("#! /no/such/shell", "(its first line asks for '/no/such/shell', which is not there)"),
        (
            "#!/bin/sh\r",
            "(its first line asks for '/bin/sh\\r', which is not there: its lines end as on Windows)",
        ),
        ("#!beside.sh", "(its first line asks for 'beside.sh', which is not there)"),
    ],
)
def test_an_interpreter_that_is_not_there_is_named(tmp_path: Path, first_line: str, what: str) -> None:
    script(tmp_path / "run.sh", f"{first_line}\necho here\n")
    assert cause(ABSENT, start("./run.sh", tmp_path)) == what


def test_a_script_without_a_first_line_says_so(tmp_path: Path) -> None:
    script(tmp_path / "run.sh", "echo here\n")
    assert cause(FORMAT, start("./run.sh", tmp_path)) == "(it is no program, and as a script it lacks a first line #!)"


def test_of_a_program_for_another_machine_nothing_is_guessed(tmp_path: Path) -> None:
    script(tmp_path / "tool", "\x7fELF of another kind")
    assert cause(FORMAT, start("./tool", tmp_path)) == ""


def test_where_a_program_was_looked_for_is_told(tmp_path: Path) -> None:
    of = start("tool", tmp_path, path="/no/where:/else")
    assert cause(ABSENT, of) == "(it is in no folder of PATH: /no/where:/else)"


def test_a_path_that_is_not_there_speaks_for_itself(tmp_path: Path) -> None:
    assert cause(ABSENT, start("/no/such/tool", tmp_path)) == ""


def test_a_program_is_found_on_its_own_path(tmp_path: Path) -> None:
    script(tmp_path / "bin" / "tool", "#!/no/such/shell\n")
    assert "/no/such/shell" in cause(ABSENT, start("tool", Path("/"), path=f"/no/where:{tmp_path}/bin"))


def test_the_folder_behind_a_link_that_a_user_may_not_enter_is_named(open_path: Path) -> None:
    program = script(open_path / "home" / "tools" / "python", "#!/bin/sh\n")
    (open_path / "python").symlink_to(program)
    (open_path / "home").chmod(0o700)
    of = start(str(open_path / "python"), open_path, user=SOMEBODY)
    assert cause(DENIED, of) == f"(somebody may not enter {open_path}/home)"


def test_the_folder_in_which_a_link_lies_counts_too(open_path: Path) -> None:
    program = script(open_path / "python", "#!/bin/sh\n")
    (open_path / "home").mkdir(mode=0o700)
    (open_path / "home" / "python").symlink_to(program)
    of = start(str(open_path / "home" / "python"), open_path, user=SOMEBODY)
    assert cause(DENIED, of) == f"(somebody may not enter {open_path}/home)"


@pytest.mark.parametrize(
    ("owner", "group", "mode", "may"),
    [
        (54_321, 0, 0o100, True),
        (54_321, 54_323, 0o011, False),
        (0, 54_323, 0o010, True),
        (0, 54_322, 0o101, False),
        (0, 0, 0o001, True),
        (0, 0, 0o110, False),
    ],
)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_it_is_judged_as_the_kernel_does_by_owner_then_group_then_the_rest(
    open_path: Path, owner: int, group: int, mode: int, may: bool
) -> None:
    program = script(open_path / "tool", "#!/bin/sh\n", mode)
    os.chown(program, owner, group)
    expected = "" if may else f"(somebody may not execute {program})"
    assert cause(DENIED, start(str(program), open_path, user=SOMEBODY)) == expected


def test_a_working_directory_that_cannot_be_entered_is_named(open_path: Path) -> None:
    folder = open_path / "closed" / "inside"
    folder.mkdir(parents=True)
    (open_path / "closed").chmod(0o700)
    message = f"cwd failed: {str(folder)!r}: {DENIED}"
    told = explained(message, start("true", folder, user=SOMEBODY))
    assert told == f"{message} (somebody may not enter {open_path}/closed)"


@pytest.mark.parametrize("message", ["fork failed: no room", "limits failed: nice -5: Permission denied"])
def test_other_steps_are_left_as_they_are(tmp_path: Path, message: str) -> None:
    assert explained(message, start("/no/such/tool", tmp_path)) == message
