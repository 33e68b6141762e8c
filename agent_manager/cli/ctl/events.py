"""`agentctl events`: what happens, line by line, until it is interrupted."""

from __future__ import annotations

import json

from rich.text import Text

from agent_manager.cli.ctl import formats, terminal
from agent_manager.cli.ctl.api import Api, agent_path, understood
from agent_manager.cli.ctl.failures import AgentctlError, ExitCode
from agent_manager.cli.ctl.following import followed
from agent_manager.protocol.messages import EventMessage

_WHO_WIDTH = 16
_WHAT_WIDTH = 10


async def follow_events(api: Api, agent_id: str | None, *, as_json: bool) -> ExitCode:
    """Print each event, once and in order, over restarts of API and manager. Raises AgentctlError when refused."""
    console = terminal.out()
    if agent_id is not None:
        await _say_if_unknown(api, agent_id)
    async for event in followed(api, "/events", {} if agent_id is None else {"agent_id": agent_id}):
        document = json.loads(event.data)
        if event.type == "gap":
            terminal.complain(f"{document['events']:,} events are gone: {document['reason']}")
        elif as_json:
            formats.print_json(document)
        else:
            console.print(_line(understood(EventMessage, document)))
    raise AssertionError("a followed stream does not end by itself")


async def _say_if_unknown(api: Api, agent_id: str) -> None:
    """An agent that is not there may still come; a manager is not needed to wait for it."""
    try:
        await api.get(agent_path(agent_id), patience_s=0.0)
    except AgentctlError as error:
        if error.exit_code is ExitCode.NOT_FOUND:
            terminal.complain(f"there is no agent {agent_id} yet; its events are printed when it comes")


def _line(event: EventMessage) -> Text:
    who = terminal.text(event.instance_id or event.agent_id, "bold")
    what = terminal.status(event.type)
    # No table, which would have to know the longest in advance: what usually fits is aligned.
    who.pad_right(max(0, _WHO_WIDTH - len(who)))
    what.pad_right(max(0, _WHAT_WIDTH - len(what)))
    return Text("  ").join(
        (
            terminal.text(terminal.moment(event.at), "dim"),
            who,
            what,
            terminal.text(event.message.replace("\n", " ")),
        )
    )
