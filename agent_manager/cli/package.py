"""`agent-manager package`: making packages and looking at them, without a node."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

import agent_manager
from agent_manager.adapters.packages.examination import examine
from agent_manager.adapters.packages.folder_source import SKIPPED
from agent_manager.adapters.packages.manifest_file import MANIFEST_NAME
from agent_manager.cli.complaints import told
from agent_manager.cli.exit_codes import ExitCode
from agent_manager.cli.printable import printable, shown
from agent_manager.domain.errors import ConflictError, InvalidRequestError, UnavailableError
from agent_manager.domain.identifiers import agent_id_of_folder
from agent_manager.ports.packages import FoundPackage
from agent_manager.settings.manager import MANAGER

TEMPLATE = Path(agent_manager.__file__).parent / "package_template"

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Make packages, and look at them without a node.")


@app.command()
def check(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A package folder, or the agent.yaml in it.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Say everything that is wrong with a package, all at once. Exit code 1 where something is."""
    found = examine(path.absolute().parent if path.name == MANIFEST_NAME else path)
    if as_json:
        print(json.dumps(_document(found)))
    else:
        _print(found)
    if found.faults:
        raise typer.Exit(ExitCode.FAILED)


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The folder's name, which gives the agent's id.")],
    path: Annotated[
        Path | None, typer.Option(help="The folder to make it in.  [default: packages_dir of the settings]")
    ] = None,
) -> None:
    """Make a package that runs as it is, from the template."""
    with told():
        folder = _made(name, path or MANAGER.load(os.environ).settings.packages_dir)
    option = f" --packages {shlex.quote(str(path))}" if path is not None else ""
    agent_id = agent_id_of_folder(name)
    print(
        f"made {shown(folder)}, which runs as it is. Next:\n"
        f"  make it yours: {shown(folder / MANIFEST_NAME)} and {shown(folder / 'agent.py')}\n"
        f"  agent-manager package check {shlex.quote(shown(folder))}\n"
        f"  agent-manager up{option}    (a node that runs on it has started the agent by now)\n"
        f"  agentctl show {agent_id}"
    )


def _made(name: str, root: Path) -> Path:
    """The new folder, complete from the moment it is there. Raises AgentManagerError."""
    agent_id = agent_id_of_folder(name)
    if name in SKIPPED:
        raise InvalidRequestError(f"a folder called {name} is never a package; name it otherwise")
    if not root.is_dir():
        raise InvalidRequestError(f"{root} is no folder; make it, or name another with --path")
    for present in sorted(root.iterdir()):
        if present.name.replace("_", "-") == agent_id:
            raise ConflictError(f"{present} is there already, and has the agent id {agent_id}; take another name")
    making = root / f".{name}.making"
    try:
        shutil.copytree(TEMPLATE, making, ignore=shutil.ignore_patterns("__pycache__"))
        return making.rename(root / name)
    except OSError as error:
        raise UnavailableError(f"{root / name} cannot be made: {error.strerror or error}") from error


def _document(found: FoundPackage) -> dict[str, Any]:
    spec = found.spec
    return {
        "name": found.name,
        "path": found.path,
        "valid": not found.faults,
        "version": spec.version if spec is not None else None,
        "agent_id": agent_id_of_folder(found.name) if spec is not None else None,
        "digest": found.digest,
        "requirements": found.needs.file if found.needs is not None else None,
        "faults": [asdict(fault) for fault in found.faults],
    }


def _print(found: FoundPackage) -> None:
    for fault in found.faults:
        print(printable(str(fault)).replace("\n", " "))
    count = len(found.faults)
    if count or found.spec is None:
        print(printable(f"{found.name}: {count} fault{'' if count == 1 else 's'}"))
        return
    environment = f"of its own, from {found.needs.file}" if found.needs is not None else "the manager's"
    print(
        f"{found.name} is valid\n"
        f"  version      {found.spec.version}\n"
        f"  agent id     {agent_id_of_folder(found.name)}\n"
        f"  digest       {found.digest}\n"
        f"  environment  {environment}"
    )
