"""What a package wants installed: `requirements.txt`, else the dependencies of `pyproject.toml`."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import sys
import tomllib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from agent_manager.documents.problems import Problem, shortened
from agent_manager.ports.packages import EnvironmentNeed

REQUIREMENTS, PROJECT = "requirements.txt", "pyproject.toml"

_COMMENT = re.compile(r"(^|\s)#.*$")
_INCLUDE = re.compile(r"(?:-r|--requirement|-c|--constraint)[ =]*(?P<file>\S+)")
_LOCAL = re.compile(
    r"(-e|--editable)\b|(-f|--find-links)[ =]*+(?!/|\w+:)|\.{1,2}(/|$|\[)|.*file:(?!/)|[^@:]*\.(whl|tar\.gz|zip)$"
)
_VERSION_CLAUSE = re.compile(r"\s*(?P<sign>>=|<=|!=|==|~=|>|<)\s*(?P<version>[0-9][0-9.]*)(?P<any>\.\*)?\s*$")


class UnusableRequirementsError(Exception):
    """A requirement file says nothing that can be installed; `file` is relative to the package folder."""

    def __init__(self, file: str, problem: Problem) -> None:
        super().__init__(problem.message)
        self.file = file
        self.problem = problem


def need_of(folder: Path, files: Collection[str], *, digest: str, sdk: bool) -> EnvironmentNeed | None:
    """The environment that a package with these files needs; None where it can do with the manager's own.

    `digest` is that of the package: requirements that name files of the folder are for this version alone. Raises
    UnusableRequirementsError.
    """
    if REQUIREMENTS in files:
        lines = tuple(_lines(folder, REQUIREMENTS, frozenset()))
        wanted = [line for line in lines if not line.startswith("-") or _LOCAL.match(line)]
        requirements: tuple[str, ...] = ()
    elif PROJECT in files:
        requirements = lines = _dependencies(folder)
        wanted = list(lines)
    else:
        return None
    if not wanted:
        return None
    own = digest if any(_LOCAL.match(line) for line in lines) else ""
    file = REQUIREMENTS if REQUIREMENTS in files else PROJECT
    key = _key(lines, own, sdk=sdk)
    return EnvironmentNeed(key=key, own=own, folder=str(folder), file=file, requirements=requirements, sdk=sdk)


def _key(lines: tuple[str, ...], own: str, *, sdk: bool) -> str:
    python = (sys.implementation.name, platform.python_version(), platform.machine(), sys.base_prefix)
    parts = (*python, str(sdk), *(sdk_paths() if sdk else ()), own, *lines)
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:24]


def sdk_paths() -> tuple[str, ...]:
    """Where this installation and what it depends on are: an environment finds the SDK there."""
    root = str(Path(__file__).parents[3])
    sites = (path for path in sys.path if os.path.basename(path) in ("site-packages", "dist-packages"))
    return tuple(dict.fromkeys((root, *sites)))


def _lines(folder: Path, file: str, above: frozenset[str]) -> Iterator[str]:
    """What counts of a requirements file and of those it includes."""
    try:
        text = (folder / file).read_text(encoding="utf-8-sig").replace("\\\n", " ")
    except UnicodeDecodeError as error:
        raise _unusable(file, "is not UTF-8 text", "UTF-8 text") from error
    except OSError as error:
        raise _unusable(file, f"cannot be read: {error.strerror}", "a readable file") from error
    for number, raw in enumerate(text.splitlines(), 1):
        line = _COMMENT.sub("", raw).strip()
        if not line:
            continue
        yield line
        include = _INCLUDE.match(line)
        if include is not None and "://" not in include["file"]:
            yield from _included(folder, file, number, include["file"], above | {file})


def _included(folder: Path, file: str, number: int, named: str, above: frozenset[str]) -> Iterator[str]:
    inside = os.path.normpath(os.path.join(os.path.dirname(file), named))
    if inside in above:
        raise _unusable(file, f"includes {named}, which includes it", "no circle of includes", number)
    if os.path.isabs(inside) or inside.startswith("..") or not (folder / inside).is_file():
        raise _unusable(file, f"includes {named}, which is no file of the folder", "a file of the folder", number)
    yield from _lines(folder, inside, above)


def _dependencies(folder: Path) -> tuple[str, ...]:
    project = _project(folder)
    if "dependencies" in project.get("dynamic", ()):
        message = "leaves its dependencies to a build (dynamic): list them here, or in a requirements.txt"
        raise _unusable(PROJECT, message, "project.dependencies")
    dependencies = project.get("dependencies", [])
    if not isinstance(dependencies, list) or not all(isinstance(one, str) for one in dependencies):
        raise _unusable(PROJECT, "project.dependencies must be a list of strings", "a list of strings")
    _check_python(str(project.get("requires-python", "")))
    return tuple(dependencies)


def _project(folder: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads((folder / PROJECT).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _unusable(PROJECT, f"is not valid TOML: {shortened(str(error))}", "TOML") from error
    except OSError as error:
        raise _unusable(PROJECT, f"cannot be read: {error.strerror}", "a readable file") from error
    project = document.get("project", {})
    return project if isinstance(project, dict) else {}


def _check_python(wanted: str) -> None:
    """Only what can be decided without the whole grammar of versions is refused; installers know the rest."""
    here = sys.version_info[:2]
    for clause in filter(None, wanted.split(",")):
        match = _VERSION_CLAUSE.match(clause)
        if match is None:
            continue
        asked = tuple(int(part) for part in match["version"].rstrip(".").split(".")[:2])
        too_old = match["sign"] in (">=", "~=", "==") and here < asked
        too_new = match["sign"] == "<" and here >= asked and len(match["version"].split(".")) < 3
        if too_old or too_new:
            message = f"requires-python is {wanted}, and agents of this node run on {platform.python_version()}"
            raise _unusable(PROJECT, message, f"a range with {here[0]}.{here[1]}")


def _unusable(file: str, message: str, expected: str, line: int | None = None) -> UnusableRequirementsError:
    return UnusableRequirementsError(file, Problem(path=(), message=message, expected=expected, line=line))
