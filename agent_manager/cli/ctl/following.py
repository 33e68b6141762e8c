"""Server-sent events of the API, one stream of them over its restarts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from agent_manager.cli.ctl import terminal
from agent_manager.cli.ctl.api import PATIENCE_S, Api
from agent_manager.cli.ctl.failures import AgentctlError, ExitCode
from agent_manager.cli.ctl.http import Parameters

RETRY_S = 0.5
"""Pause between two attempts to go on."""


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event; `type` and `data` are empty where it says no more than from which `id` to go on."""

    id: str
    type: str
    data: str


async def followed(api: Api, path: str, parameters: Parameters) -> AsyncIterator[ServerSentEvent]:
    """The events at `path`. When the stream ends, it is gone on with after the last event, for as long as it takes.

    Raises AgentctlError when it cannot be begun, and whenever the API refuses to go on for a reason that lasts.
    """
    last_id: str | None = None
    is_lost = False
    begin_until = time.monotonic() + PATIENCE_S
    has_begun = False
    while True:
        try:
            async with api.lines(path, parameters, last_id=last_id) as lines:
                if is_lost:
                    terminal.complain("connected again")
                is_lost, has_begun = False, True
                async for event in server_sent_events(lines):
                    last_id = event.id or last_id
                    if event.data:
                        yield event
        except AgentctlError as error:
            may_pass = bool((error.problem or {}).get("retryable"))
            if has_begun:
                may_pass = may_pass or error.exit_code is ExitCode.UNREACHABLE
            else:
                may_pass = may_pass and time.monotonic() < begin_until
            if not may_pass:
                raise
        if has_begun and not is_lost:
            is_lost = True
            terminal.complain("the connection to the API is lost; waiting for it")
        await asyncio.sleep(RETRY_S)


async def server_sent_events(lines: AsyncIterator[str]) -> AsyncIterator[ServerSentEvent]:
    """Each event (WHATWG HTML standard, section 9.2), without data too, whose id counts; no comments."""
    event_id, type_, data = "", "", list[str]()
    async for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if event_id or data:
                yield ServerSentEvent(event_id, type_, "\n".join(data))
            event_id, type_, data = "", "", []
        elif name == "id":
            event_id = value
        elif name == "event":
            type_ = value
        elif name == "data":
            data.append(value)
