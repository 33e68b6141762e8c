"""One package folder as found: its name, its manifest and the files that names, put together into a spec or faults."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent_manager.adapters.codec import SPEC
from agent_manager.adapters.packages.manifest_file import MANIFEST_NAME, Reading
from agent_manager.adapters.packages.manifest_paths import absolute_command, path_problems
from agent_manager.adapters.packages.problems import as_faults
from agent_manager.documents.problems import Problem, printable, shown
from agent_manager.domain.agents import ManifestFault
from agent_manager.domain.errors import InvalidRequestError
from agent_manager.domain.identifiers import agent_id_of_folder
from agent_manager.domain.specification import AgentSpec
from agent_manager.ports.packages import FoundPackage

MAX_SPEC_BYTES = 100_000
"""Size of a spec as JSON above which it could not be started: the launcher's metadata carries it twice in 256 KiB, and
Linux takes no environment variable (`AGENT_CONFIG`) of 128 KiB. The rest is room for the last lines of an exit."""


FOLDER_NAME = "a folder name of lower-case letters, digits, hyphens and underscores that is not reserved"
READABLE_FOLDER = "a readable folder"
"""What is expected where no file of the package can be mended."""


def found_package(
    folder: Path, reading: Reading, digest: str | None = None, more: tuple[ManifestFault, ...] = ()
) -> FoundPackage:
    """The package in `folder`, whose files have this digest; `more` faults are those of its files."""
    name, file = printable(folder.name), f"{folder.name}/{MANIFEST_NAME}"
    problems = (
        *_name_problems(folder.name),
        *reading.problems,
        *path_problems(reading.data, folder),
    )
    faults = (*as_faults(problems, file, reading.lines), *more)
    if reading.manifest is None or faults:
        return FoundPackage(name=name, path=printable(str(folder)), spec=None, faults=faults, digest=digest)
    manifest = reading.manifest
    spec = manifest.spec(
        folder_name=name,
        directory=str(folder),
        digest=digest or "",
        working_directory=os.path.normpath(folder / (manifest.working_directory or ".")),
        command=absolute_command(manifest.command, folder),
    )
    faults = as_faults(tuple(_size_problems(spec)), file, reading.lines)
    return FoundPackage(name=name, path=str(folder), spec=None if faults else spec, faults=faults, digest=digest)


def misnamed_package(folder: Path, present: str) -> FoundPackage:
    """A folder whose manifest is there under another name."""
    problem = Problem(
        path=(), message=f"the manifest is called {present}: rename it to {MANIFEST_NAME}", expected=MANIFEST_NAME
    )
    faults = as_faults((problem,), f"{folder.name}/{present}", {})
    return FoundPackage(name=printable(folder.name), path=printable(str(folder)), spec=None, faults=faults)


def unreadable_package(folder: Path, error: OSError) -> FoundPackage:
    """A folder that the file system does not let anybody look into."""
    problem = Problem(path=(), message=f"cannot be read: {error.strerror or error}", expected=READABLE_FOLDER)
    faults = as_faults((problem,), folder.name, {})
    return FoundPackage(name=printable(folder.name), path=printable(str(folder)), spec=None, faults=faults)


def _name_problems(name: str) -> Iterator[Problem]:
    try:
        agent_id_of_folder(name)
    except InvalidRequestError as error:
        message = f"the folder's name gives no agent id: {error.message}; rename the folder"
        yield Problem(path=(), message=message, expected=FOLDER_NAME, value=shown(name))


def _size_problems(spec: AgentSpec) -> Iterator[Problem]:
    encoded = SPEC.encode(spec)
    size = _json_bytes(encoded)
    if size <= MAX_SPEC_BYTES:
        return
    largest = max(encoded, key=lambda key: _json_bytes(encoded[key]))
    expected = f"a manifest of at most {MAX_SPEC_BYTES} bytes as JSON"
    message = (
        f"the manifest takes {size} bytes as JSON and may take {MAX_SPEC_BYTES}; the largest key is {largest} with "
        f"{_json_bytes(encoded[largest])}: keep large values in a file of the package"
    )
    yield Problem(path=(largest,), message=message, expected=expected)


def _json_bytes(data: Any) -> int:
    # Counted in ASCII, as launcher and environment carry it.
    return len(json.dumps(data, separators=(",", ":")))
