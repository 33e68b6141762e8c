"""The program `agentctl`: agents from the command line, through the management API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, cast

import typer

from agent_manager.cli.ctl import (
    agents,
    changes,
    completion,
    ending,
    events,
    interruption,
    inventory,
    live_output,
    output,
    screen,
    top,
    views,
    watching,
)
from agent_manager.cli.ctl.address import DEFAULT_API_URL, DEFAULT_DATA_DIR, UP_FILE, Place
from agent_manager.cli.ctl.api import Api, M, connected_to
from agent_manager.cli.ctl.changes import Change
from agent_manager.cli.ctl.failures import EXPLAINED, ExitCode
from agent_manager.cli.ctl.formats import Format
from agent_manager.cli.ctl.samples import Order, SortKey
from agent_manager.cli.ctl.views import View
from agent_manager.protocol.operations import MAX_LOG_LINES, MAX_WAIT_S
from agent_manager.protocol.release import release

DEFAULT_WAIT_S = 30.0
DEFAULT_INTERVAL_S = 2.0

app = typer.Typer(
    help="See and steer the agents of agent-manager.",
    epilog=EXPLAINED,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

package_app = typer.Typer(help="Steer one package.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(package_app, name="package")

AgentId = Annotated[str, typer.Argument(metavar="AGENT", help="Id of an agent.", autocompletion=completion.agent_ids)]
AgentIds = Annotated[
    list[str], typer.Argument(metavar="AGENT", help="Ids of agents.", autocompletion=completion.agent_ids)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the API's JSON.")]
Output = Annotated[
    Format, typer.Option("--output", "-o", help="In which form it is printed; --json is short for json.")
]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Show it anew whenever something happens.")]
WaitS = Annotated[
    float,
    typer.Option("--wait", min=0, max=MAX_WAIT_S, metavar="SECONDS", help="How long to wait until it is done."),
]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Return once the wish is accepted.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"agentctl {release()}")
        raise typer.Exit


@app.callback()
def place(
    context: typer.Context,
    api_url: Annotated[
        str | None,
        typer.Option(
            envvar="AGENT_MANAGER_API_URL",
            help=f"URL of the management API. Default: what {UP_FILE} in the data directory says, "
            f"else {DEFAULT_API_URL}.",
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            envvar="AGENT_MANAGER_DATA_DIR",
            help=f"Data directory of `agent-manager up`, whose {UP_FILE} names the API. Default: {DEFAULT_DATA_DIR}.",
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Keep where the API is, for the command that follows."""
    context.obj = Place(api_url=api_url, data_dir=data_dir)


@app.command()
def ls(context: typer.Context, output: Output = Format.TABLE, as_json: AsJson = False, watch: Watch = False) -> None:
    """List all agents."""
    _look(context, lambda: agents.ALL, _form(output, as_json), watch)


@app.command()
def show(
    context: typer.Context,
    agent_id: AgentId,
    output: Output = Format.TABLE,
    as_json: AsJson = False,
    watch: Watch = False,
) -> None:
    """Show everything about an agent."""
    _look(context, lambda: agents.everything_about(agent_id), _form(output, as_json), watch)


@app.command()
def status(
    context: typer.Context,
    agent_id: AgentId,
    output: Output = Format.TABLE,
    as_json: AsJson = False,
    watch: Watch = False,
) -> None:
    """Show how an agent and its instances are."""
    _look(context, lambda: agents.status_of(agent_id), _form(output, as_json), watch)


@app.command("top")
def show_top(
    context: typer.Context,
    sort: Annotated[SortKey, typer.Option("--sort", "-s", help="What the instances are ordered by.")] = SortKey.CPU,
    is_reversed: Annotated[bool, typer.Option("--reverse", "-r", help="The other way round.")] = False,
    interval_s: Annotated[
        float, typer.Option("--interval", "-i", min=0.5, max=3600, metavar="SECONDS", help="Between two looks.")
    ] = DEFAULT_INTERVAL_S,
    once: Annotated[bool, typer.Option("--once", help="Print one picture; so does a pipe.")] = False,
    output: Output = Format.TABLE,
    as_json: AsJson = False,
) -> None:
    """Show what nodes and instances use, until q or Ctrl-C."""
    form, order = _form(output, as_json), Order(sort, is_reversed)
    if once or form not in (Format.TABLE, Format.WIDE) or not screen.is_possible():
        _run(context, lambda api: top.print_top(api, order, form, interval_s=interval_s))
    else:
        _run(context, lambda api: top.show_top(api, order, interval_s=interval_s))


@app.command()
def start(
    context: typer.Context,
    agent_ids: AgentIds,
    wait_s: WaitS = DEFAULT_WAIT_S,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Start agents, and wait until they are running."""
    change = Change(verb="start", wanted="running", wait_s=0.0 if no_wait else wait_s)
    _run(context, lambda api: changes.change_agents(api, agent_ids, change, as_json=as_json))


@app.command()
def stop(
    context: typer.Context,
    agent_ids: AgentIds,
    wait_s: WaitS = DEFAULT_WAIT_S,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Stop agents, and wait until no process of theirs is left."""
    change = Change(verb="stop", wanted="stopped", wait_s=0.0 if no_wait else wait_s)
    _run(context, lambda api: changes.change_agents(api, agent_ids, change, as_json=as_json))


@app.command()
def restart(
    context: typer.Context,
    agent_ids: AgentIds,
    wait_s: WaitS = DEFAULT_WAIT_S,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Give agents new processes, and wait until those are running."""
    change = Change(verb="restart", wanted="running", wait_s=0.0 if no_wait else wait_s)
    _run(context, lambda api: changes.change_agents(api, agent_ids, change, as_json=as_json))


@app.command()
def logs(
    context: typer.Context,
    agent_id: AgentId,
    tail: Annotated[
        int, typer.Option("--tail", "-n", min=1, max=MAX_LOG_LINES, help="Lines from the end of each stream.")
    ] = 100,
    instance: Annotated[
        str | None, typer.Option(help="Only this instance.", autocompletion=completion.instance_ids)
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written, until Ctrl-C.")] = False,
    until_stopped: Annotated[
        bool, typer.Option("--until-stopped", help="With --follow: end when the agent has stopped.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print the latest output of an agent."""
    if follow:
        wanted = live_output.Wanted(agent_id=agent_id, instance_id=instance, tail=tail, until_stopped=until_stopped)
        _run(context, lambda api: live_output.follow_logs(api, wanted, as_json=as_json))
    else:
        _run(context, lambda api: output.print_logs(api, agent_id, tail=tail, instance_id=instance, as_json=as_json))


@app.command("events")
def follow(
    context: typer.Context,
    agent_id: Annotated[
        str | None, typer.Argument(metavar="[AGENT]", help="Only this agent.", autocompletion=completion.agent_ids)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print what happens, while it happens, until Ctrl-C."""
    _run(context, lambda api: events.follow_events(api, agent_id, as_json=as_json))


@app.command()
def packages(
    context: typer.Context, output: Output = Format.TABLE, as_json: AsJson = False, watch: Watch = False
) -> None:
    """List all packages, and what is wrong with invalid ones."""
    _look(context, lambda: inventory.PACKAGES, _form(output, as_json), watch)


@package_app.command("retry")
def retry_package(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a package's folder.")],
    as_json: AsJson = False,
) -> None:
    """Make the environment of a package again that could not be made."""
    _run(context, lambda api: inventory.retry_package(api, name, as_json=as_json))


@app.command()
def nodes(context: typer.Context, output: Output = Format.TABLE, as_json: AsJson = False, watch: Watch = False) -> None:
    """List all nodes."""
    _look(context, lambda: inventory.NODES, _form(output, as_json), watch)


def _form(output: Format, as_json: bool) -> Format:
    if as_json and output not in (Format.TABLE, Format.JSON):
        raise typer.BadParameter(f"--json and --output {output} contradict each other; give one of them")
    return Format.JSON if as_json else output


def _look(context: typer.Context, view: Callable[[], View[M]], form: Format, is_watched: bool) -> None:
    look = watching.watch if is_watched else views.print_once
    _run(context, lambda api: look(api, view(), form))


def _run(context: typer.Context, command: Callable[[Api], Awaitable[ExitCode]]) -> None:
    """Carry out a command, and exit with its code."""
    place = cast(Place, context.obj)
    raise typer.Exit(ending.concluded(lambda: interruption.run(_connected(place, command))))


async def _connected(place: Place, command: Callable[[Api], Awaitable[ExitCode]]) -> ExitCode:
    async with connected_to(place.find_api()) as api:
        return await command(api)


def main() -> None:
    """Run the command line."""
    app(prog_name="agentctl")


if __name__ == "__main__":
    main()
