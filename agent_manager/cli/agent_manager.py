"""`agent-manager`: starts a node, and looks after what belongs to one."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from agent_manager.cli import configuration, migration, package, reloading
from agent_manager.cli.complaints import complain, told
from agent_manager.cli.doctor import doctor
from agent_manager.cli.node import NodeOptions, become_node
from agent_manager.configuration.loading import ConfigurationError, Loaded
from agent_manager.configuration.program import Flag
from agent_manager.protocol.release import release
from agent_manager.settings.manager import MANAGER, ManagerSettings
from management_api.settings import API

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)
app.add_typer(package.app, name="package")
app.add_typer(configuration.app, name="config")
app.command()(doctor)

ConfigOption = Annotated[Path | None, typer.Option("--config", help="The file with the settings.")]
DataDirOption = Annotated[
    Path | None, typer.Option(help="Where keys, database, logs and state are kept.  [default: .agent-manager]")
]
PackagesOption = Annotated[
    Path | None, typer.Option(help="The folder with the agent packages.  [default: agent_packages]")
]
DatabaseOption = Annotated[
    str | None,
    typer.Option(
        help="postgresql://user:password@host:5432/name or sqlite:///path. Others on this machine can read arguments: "
        "a password is better kept in DATABASE_URL or ~/.pgpass.  [default: SQLite in the data directory]"
    ),
]
MetricsPortOption = Annotated[
    int | None,
    typer.Option(min=0, max=65535, help="Port of the manager's metrics; 0 takes any free one.  [default: 0]"),
]
LogLevelOption = Annotated[str | None, typer.Option(help="DEBUG, INFO, WARNING or ERROR.  [default: INFO]")]


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
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    packages: PackagesOption = None,
    database_url: DatabaseOption = None,
    host: Annotated[str | None, typer.Option(help="Loopback address the API listens on.  [default: 127.0.0.1]")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port of the API; 0 takes any free one.  [default: 8000]")
    ] = None,
    nats_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the embedded NATS server; 0 takes any free one.")
    ] = 4222,
    metrics_port: MetricsPortOption = None,
    log_level: LogLevelOption = None,
) -> None:
    """Run a whole node in the foreground: launcher, NATS, manager, API and the agents. Ctrl-C stops it all."""
    flags = _flags(data_dir, packages, database_url, metrics_port, log_level)
    with told():
        loaded = MANAGER.load(os.environ, config=config, flags=flags)
        api_flags = (("--host", "service.host", host), ("--port", "service.port", port))
        api = API.load(os.environ, flags=api_flags).settings
        _say_what_is_unused(loaded)
        become_node(NodeOptions(settings=loaded.settings, api=api, nats_port=nats_port, given=_given(config, flags)))


@app.command()
def run(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    packages: PackagesOption = None,
    database_url: DatabaseOption = None,
    metrics_port: MetricsPortOption = None,
    log_level: LogLevelOption = None,
) -> None:
    """Run a node as a service: launcher, manager and the agents, on a NATS server that the settings name."""
    flags = _flags(data_dir, packages, database_url, metrics_port, log_level)
    with told():
        loaded = MANAGER.load(os.environ, config=config, flags=flags)
        if not loaded.settings.nats.is_external:
            raise ConfigurationError(
                (
                    "run needs a NATS server: name it with nats.url in the settings or AGENT_MANAGER_NATS_URL; "
                    "`agent-manager up` runs one of its own",
                )
            )
        _say_what_is_unused(loaded)
        become_node(NodeOptions(settings=loaded.settings, api=None, nats_port=0, given=_given(config, flags)))


@app.command()
def migrate(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseOption = None,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit with 3 where there is something to be done.")
    ] = False,
) -> None:
    """Bring the database to the schema of this version. Nodes of the version before it work on meanwhile."""
    with told():
        settings = MANAGER.load(
            os.environ, config=config, flags=_flags(data_dir, None, database_url, None, None)
        ).settings
        report = migration.run(settings.database_url, check=check)
    print(report.text)
    raise typer.Exit(report.exit_code)


@app.command(name="reload")
def reload_node(config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """Have the installed version take over a running node: launcher, manager and API; agents and NATS run on."""
    with told():
        settings = MANAGER.load(os.environ, config=config, flags=_flags(data_dir, None, None, None, None)).settings
        print(reloading.reload(settings.data_dir))


def _flags(
    data_dir: Path | None,
    packages: Path | None,
    database_url: str | None,
    metrics_port: int | None,
    log_level: str | None,
) -> list[Flag]:
    return [
        ("--data-dir", "data_dir", data_dir),
        ("--packages", "packages_dir", packages),
        ("--database-url", "database.url", database_url),
        ("--metrics-port", "metrics.port", metrics_port),
        ("--log-level", "service.log_level", log_level),
    ]


def _given(config: Path | None, flags: list[Flag]) -> dict[str, str]:
    """What was chosen on the command line, as variables: the manager reads its settings itself, at each start."""
    names = {key.name: key.variables(MANAGER.prefix)[0] for key in MANAGER.keys}
    given: dict[str, str] = {
        names[name]: str(value.absolute() if isinstance(value, Path) else value)
        for _, name, value in flags
        if value is not None
    }
    file = MANAGER.config_file(os.environ, config)
    return given | ({MANAGER.config_variable: str(file.absolute())} if file is not None else {})


def _say_what_is_unused(loaded: Loaded[ManagerSettings]) -> None:
    for key, awaited in loaded.without_effect():
        complain(f"{loaded.origin(key)}: {key.name} has no effect yet: {awaited} will use it")


def main() -> None:
    """Entry point of the script."""
    # Without a handler the kernel would keep it from PID 1 of a container, until the launcher is there.
    signal.signal(signal.SIGTERM, _end)
    app(prog_name="agent-manager")


def _end(number: int, _: Any) -> NoReturn:
    sys.exit(128 + number)
