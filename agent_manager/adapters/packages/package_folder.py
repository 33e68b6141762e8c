"""One package folder as found: its name, its manifest and the files that names, put together into a spec or faults."""

from __future__ import annotations

import os
from pathlib import Path

from agent_manager.adapters.packages.manifest_file import MANIFEST_NAME, Reading
from agent_manager.adapters.packages.manifest_paths import absolute_command, path_problems
from agent_manager.adapters.packages.problems import Problem, as_faults, printable, shown
from agent_manager.domain.errors import InvalidRequestError
from agent_manager.domain.identifiers import agent_id_of_folder
from agent_manager.ports.packages import FoundPackage


def found_package(folder: Path, reading: Reading, owners: dict[str, str]) -> FoundPackage:
    """The package in `folder`. `owners` maps the agent ids taken by earlier folders to them; its own id is added."""
    name = printable(folder.name)
    problems = (
        *_name_problems(folder.name, owners),
        *reading.problems,
        *path_problems(reading.data, folder),
    )
    faults = as_faults(problems, f"{folder.name}/{MANIFEST_NAME}", reading.lines)
    if reading.manifest is None or faults:
        return FoundPackage(name=name, path=printable(str(folder)), spec=None, faults=faults)
    manifest = reading.manifest
    spec = manifest.spec(
        folder_name=name,
        directory=str(folder),
        working_directory=os.path.normpath(folder / (manifest.working_directory or ".")),
        command=absolute_command(manifest.command, folder),
    )
    return FoundPackage(name=name, path=str(folder), spec=spec)


def misnamed_package(folder: Path, present: str) -> FoundPackage:
    """A folder whose manifest is there under another name."""
    problem = Problem(
        path=(), message=f"the manifest is called {present}: rename it to {MANIFEST_NAME}", expected=MANIFEST_NAME
    )
    faults = as_faults((problem,), f"{folder.name}/{present}", {})
    return FoundPackage(name=printable(folder.name), path=printable(str(folder)), spec=None, faults=faults)


def _name_problems(name: str, owners: dict[str, str]) -> tuple[Problem, ...]:
    try:
        agent_id = agent_id_of_folder(name)
    except InvalidRequestError as error:
        expected = "a folder name of lower-case letters, digits, hyphens and underscores that is not reserved"
        message = f"the folder's name gives no agent id: {error.message}; rename the folder"
        return (Problem(path=(), message=message, expected=expected, value=shown(name)),)
    owner = owners.setdefault(agent_id, name)
    if owner == name:
        return ()
    message = f"folders {owner} and {name} both give the agent id {agent_id}, and {owner} has it: rename one"
    return (Problem(path=(), message=message, expected="a folder name of its own", value=shown(name)),)
