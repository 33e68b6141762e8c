"""`agent-manager`: starts a node."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from agent_manager.cli import up as node
from agent_manager.domain.errors import AgentManagerError
from agent_manager.protocol.release import release

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"agent-manager {release()}")
        raise typer.Exit


@app.callback()
def _program(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """A supervisor for agents: what is dropped into the packages folder runs, is watched, and can be talked to."""


@app.command()
def up(
    data_dir: Annotated[Path, typer.Option(help="Where keys, database, logs and state are kept.")] = Path(
        ".agent-manager"
    ),
    packages: Annotated[Path, typer.Option(help="The folder with the agent packages.")] = Path("agent_packages"),
    host: Annotated[str, typer.Option(help="Loopback address the API listens on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the API; 0 takes any free one.")] = 8000,
    nats_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the embedded NATS server; 0 takes any free one.")
    ] = 4222,
    log_level: Annotated[str, typer.Option(help="DEBUG, INFO, WARNING or ERROR.")] = "INFO",
) -> None:
    """Run a whole node in the foreground: launcher, NATS, SQLite, manager, API and the agents. Ctrl-C stops it all."""
    try:
        node.up(
            node.UpOptions(
                data_dir=data_dir.absolute(),
                packages_dir=packages.absolute(),
                host=host,
                port=port,
                nats_port=nats_port,
                log_level=log_level.upper(),
            )
        )
    except AgentManagerError as error:
        print(f"agent-manager: {error.message}", file=sys.stderr)
        raise typer.Exit(1) from error


def main() -> None:
    """Entry point of the script."""
    app()
