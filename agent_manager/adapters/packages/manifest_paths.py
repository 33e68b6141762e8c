"""The paths a manifest names, against what is on disk.

Asked anew at every scan, since files come and go without the manifest changing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agent_manager.adapters.packages.ignoring import IgnoreRules, rules
from agent_manager.documents.problems import Problem, mismatch, shown

ALWAYS_COUNTING = ("agent.yaml", "requirements.txt", "pyproject.toml")
"""Files that decide what runs, whatever is ignored."""


def path_problems(data: Mapping[str, Any], folder: Path) -> Iterator[Problem]:
    """What is wrong with `entrypoint`, `command` and `working_directory`; wrong types are left to the model."""
    entrypoint, command, working_directory = (data.get(key) for key in ("entrypoint", "command", "working_directory"))
    if isinstance(entrypoint, str):
        yield from _entrypoint_problems(entrypoint, folder)
    if isinstance(command, list):
        yield from _command_problems(command, folder)
    if isinstance(working_directory, str) and not os.path.isdir(folder / working_directory):
        expected = "an existing folder, absolute or relative to the package's folder"
        yield mismatch(("working_directory",), shown(working_directory), expected)


def absolute_command(command: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    """The command with a leading `./` of its program replaced by the folder.

    Symbolic links stay as they are: a virtual environment's interpreter finds its environment by the path it is called
    by.
    """
    if not command or not command[0].startswith("./"):
        return command
    return (os.path.normpath(folder / command[0]), *command[1:])


def counting_rules(data: Mapping[str, Any]) -> IgnoreRules:
    """Which files of the folder count; wrong patterns are left to the model."""
    patterns, entrypoint = data.get("ignore"), data.get("entrypoint")
    always = {*ALWAYS_COUNTING, *((os.path.normpath(entrypoint),) if isinstance(entrypoint, str) else ())}
    texts = tuple(one for one in patterns if isinstance(one, str)) if isinstance(patterns, list) else ()
    try:
        return rules(texts, frozenset(always))
    except ValueError:
        return rules((), frozenset(always))


def looked_at(data: Mapping[str, Any], folder: Path) -> Iterator[Path]:
    """The folders whose entries decide about this package, beside its own: those of the files it names."""
    entrypoint, command = data.get("entrypoint"), data.get("command")
    if isinstance(entrypoint, str):
        yield (folder / entrypoint).parent
    if isinstance(command, list) and command and isinstance(command[0], str) and command[0].startswith("./"):
        yield (folder / command[0]).parent


def _entrypoint_problems(entrypoint: str, folder: Path) -> Iterator[Problem]:
    path = folder / entrypoint
    if os.path.isabs(entrypoint) or not entrypoint.endswith(".py"):
        expected = "a Python file (*.py), relative to the package's folder"
    elif not _is_inside(path, folder):
        expected = "inside the package's folder, symbolic links followed"
    elif not os.path.isfile(path):
        expected = "an existing file in the package's folder"
    elif not os.access(path, os.R_OK):
        expected = "a readable file"
    else:
        return
    yield mismatch(("entrypoint",), shown(entrypoint), expected)


def _is_inside(path: Path, folder: Path) -> bool:
    real_folder = os.path.realpath(folder)
    return os.path.commonpath([real_folder, os.path.realpath(path)]) == real_folder


def _command_problems(command: list[Any], folder: Path) -> Iterator[Problem]:
    if not command or command[0] == "":
        yield mismatch(("command",), shown(command), 'a list that begins with a program, such as ["./run", "--fast"]')
        return
    program = command[0]
    if not isinstance(program, str):
        return
    if program.startswith("./"):
        path = folder / program
        if not os.path.isfile(path):
            yield mismatch(("command", 0), shown(program), "an existing file, relative to the package's folder")
        elif not os.access(path, os.X_OK):
            yield mismatch(("command", 0), shown(program), "executable (chmod +x)")
    elif "/" in program and not os.path.isabs(program):
        expected = "a name found on PATH, an absolute path, or a path that begins with ./"
        yield mismatch(("command", 0), shown(program), expected)
