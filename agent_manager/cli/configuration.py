"""`agent-manager config`: what is in force, and where it came from."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from agent_manager.cli.complaints import told
from agent_manager.configuration.loading import DEFAULT
from agent_manager.configuration.presentation import annotated_file, in_force
from agent_manager.configuration.program import Program
from agent_manager.settings.manager import MANAGER
from management_api.settings import API

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Settings: what is in force, and an annotated file."
)


class Which(StrEnum):
    """The program whose settings are meant."""

    MANAGER = "manager"
    API = "api"

    @property
    def program(self) -> Program[Any]:
        """Its settings."""
        return MANAGER if self is Which.MANAGER else API


WhichArgument = Annotated[Which, typer.Argument(help="Whose settings.")]


@app.command()
def show(
    which: WhichArgument = Which.MANAGER,
    config: Annotated[Path | None, typer.Option("--config", help="The file with the settings.")] = None,
    changed: Annotated[bool, typer.Option("--changed", help="Only what is not at its default.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Print the settings in force and where each came from; secrets are masked. Exits with 2 when they are wrong."""
    program = which.program
    with told():
        loaded = program.load(os.environ, config=config)
    rows = [row for row in in_force(loaded, program) if not changed or row[2] != DEFAULT]
    if as_json:
        print(json.dumps({name: {"value": value, "origin": origin} for name, value, origin in rows}, indent=2))
        return
    if rows:
        print_rows(rows)
    else:
        print("everything is at its default")
    print(f"\nfile: {program.config_file(os.environ, config) or 'none'}")


def print_rows(rows: Sequence[tuple[str, str, str]]) -> None:
    """Columns as wide as they must be, never folded: they are read by people and by grep."""
    titled = [("SETTING", "VALUE", "FROM"), *rows]
    names, values = (max(len(row[column]) for row in titled) for column in (0, 1))
    for name, value, origin in titled:
        print(f"{name:<{names}}  {value:<{values}}  {origin}")


@app.command()
def template(which: WhichArgument = Which.MANAGER) -> None:
    """Print an annotated file with every setting and its default."""
    print(annotated_file(which.program), end="")
