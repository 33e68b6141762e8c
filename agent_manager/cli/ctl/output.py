"""`agentctl logs`: the latest output of an agent, as it was written."""

from __future__ import annotations

from agent_manager.cli.ctl import formats
from agent_manager.cli.ctl.api import Api, agent_path, understood
from agent_manager.cli.ctl.failures import ExitCode
from agent_manager.protocol.resources import LogsResult


async def print_logs(api: Api, agent_id: str, *, tail: int, instance_id: str | None, as_json: bool) -> ExitCode:
    """Print the last `tail` lines of each stream, under headings where more than one stream has any."""
    parameters: dict[str, str | int] = {"tail": tail}
    if instance_id is not None:
        parameters["instance_id"] = instance_id
    document = await api.get(agent_path(agent_id, "logs"), parameters)
    if as_json:
        formats.print_json(document)
        return ExitCode.OK
    streams = [stream for stream in understood(LogsResult, document).streams if stream.lines]
    for number, stream in enumerate(streams):
        if len(streams) > 1:
            print(f"{'' if number == 0 else chr(10)}==> {stream.instance_id} {stream.stream} <==")
        for line in stream.lines:
            print(line)
    return ExitCode.OK
