"""`agentctl events`: what happens, line by line, until it is interrupted."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from rich.text import Text

from agent_manager.cli.ctl import terminal
from agent_manager.cli.ctl.api import Api, agent_path, understood
from agent_manager.cli.ctl.failures import AgentctlError, ExitCode
from agent_manager.protocol.messages import EventMessage

_WHO_WIDTH = 16
_WHAT_WIDTH = 10


async def follow_events(api: Api, agent_id: str | None, *, as_json: bool) -> ExitCode:
    """Print each event. Raises AgentctlError when the API ends the stream; it does not end by itself."""
    console = terminal.out()
    if agent_id is not None:
        await _say_if_unknown(api, agent_id)
    async with api.lines("/events", {} if agent_id is None else {"agent_id": agent_id}) as lines:
        async for data in event_data(lines):
            document = json.loads(data)
            if as_json:
                terminal.print_json(document)
            else:
                console.print(_line(understood(EventMessage, document)))
    raise AgentctlError(
        "the API ended the stream of events: it is stopping, or this reader was too slow", ExitCode.UNREACHABLE
    )


async def _say_if_unknown(api: Api, agent_id: str) -> None:
    """An agent that is not there may still come; a manager is not needed to wait for it."""
    try:
        await api.get(agent_path(agent_id), patience_s=0.0)
    except AgentctlError as error:
        if error.exit_code is ExitCode.NOT_FOUND:
            terminal.complain(f"there is no agent {agent_id} yet; its events are printed when it comes")


async def event_data(lines: AsyncIterator[str]) -> AsyncIterator[str]:
    """The data of each server-sent event (WHATWG HTML standard, section 9.2); all else is passed over."""
    data: list[str] = []
    async for line in lines:
        if line.startswith("data:"):
            data.append(line.removeprefix("data:").removeprefix(" "))
        elif not line and data:
            yield "\n".join(data)
            data.clear()


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
