"""`agentctl logs --follow`: output as it is written, until it is interrupted or, if wished, the agent has stopped."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent_manager.cli.ctl import formats, terminal
from agent_manager.cli.ctl.api import Api, agent_path, understood
from agent_manager.cli.ctl.failures import ExitCode
from agent_manager.cli.ctl.following import followed
from agent_manager.protocol.messages import LogLines
from agent_manager.protocol.resources import StatusResult


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What to follow: an agent or one of its instances, from the last `tail` lines on."""

    agent_id: str
    instance_id: str | None
    tail: int
    until_stopped: bool


async def follow_logs(api: Api, wanted: Wanted, *, as_json: bool) -> ExitCode:
    """Print lines as they come; where the agent has several instances, each with the name of its own before it."""
    status = understood(StatusResult, await api.get(agent_path(wanted.agent_id, "status")))
    printer = _Printer(prefixed=wanted.instance_id is None and len(status.instances) > 1)
    async for event in followed(api, agent_path(wanted.agent_id, "logs"), _parameters(wanted)):
        document = json.loads(event.data)
        if event.type == "end":
            printer.close()
            return _ended(document)
        if as_json:
            formats.print_json({"event": event.type, **document})
        elif event.type == "gap":
            _tell_gap(document)
        else:
            printer.show(understood(LogLines, document))
    raise AssertionError("a followed stream does not end by itself")


def _parameters(wanted: Wanted) -> dict[str, str | int]:
    parameters: dict[str, str | int] = {"follow": "true", "tail": wanted.tail}
    if wanted.instance_id is not None:
        parameters["instance_id"] = wanted.instance_id
    if wanted.until_stopped:
        parameters["until_stopped"] = "true"
    return parameters


def _ended(document: Mapping[str, Any]) -> ExitCode:
    if document["reason"] == "stopped":
        return ExitCode.OK
    terminal.complain(f"the stream of output has ended: {document['reason']}")
    return ExitCode.NOT_FOUND if document["reason"] == "not_found" else ExitCode.FAILED


def _tell_gap(document: Mapping[str, Any]) -> None:
    which = f"{document['instance_id']} {document['stream']}"
    if document["bytes"] is None:
        terminal.complain(f"the output files of {which} were removed; their numbers begin anew")
    else:
        terminal.complain(f"{document['bytes']:,} bytes of {which} were rotated away before they could be read")


class _Printer:
    """Prints lines; one that goes on is finished before another stream's."""

    def __init__(self, *, prefixed: bool) -> None:
        self._prefixed = prefixed
        self._open: tuple[str, str] | None = None

    def show(self, piece: LogLines) -> None:
        """Print a piece of output."""
        stream = (piece.instance_id, piece.stream)
        if self._open not in (None, stream):
            self.close()
        begun = self._open is not None
        prefix = f"{piece.instance_id} {piece.stream} | " if self._prefixed else ""
        text = "\n".join(line if begun and number == 0 else prefix + line for number, line in enumerate(piece.lines))
        self._open = stream if piece.unfinished else None
        sys.stdout.write(text if piece.unfinished else f"{text}\n")
        sys.stdout.flush()

    def close(self) -> None:
        """End the line that goes on."""
        if self._open is not None:
            sys.stdout.write("\n")
            self._open = None
