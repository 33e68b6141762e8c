"""`agentctl start`, `stop` and `restart`: several agents at once, and what became of each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agent_manager.cli.ctl import formats, terminal
from agent_manager.cli.ctl.api import Api, agent_path, understood
from agent_manager.cli.ctl.failures import AgentctlError, ExitCode
from agent_manager.protocol.resources import AgentView, ChangeResult

_GIVEN_UP = "error"
"""The status of an instance that will not be started again by itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """What is asked for. `wait_s` 0 does not wait."""

    verb: str
    wanted: str
    """The status in which every instance is when it is done."""
    wait_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of one agent. `document` is the API's answer, None where there was none."""

    words: str
    exit_code: ExitCode
    document: Any


async def change_agents(api: Api, agent_ids: Sequence[str], change: Change, *, as_json: bool) -> ExitCode:
    """Change all of them at the same time and print the outcomes in the order they were named in.

    Returns the exit code of the first that failed.
    """
    exit_code = ExitCode.OK
    async with asyncio.TaskGroup() as group:
        changes = [
            group.create_task(_change(api, agent_id, change), name=agent_id) for agent_id in dict.fromkeys(agent_ids)
        ]
        for done in changes:
            outcome = await done
            _print(outcome, as_json=as_json)
            exit_code = exit_code or outcome.exit_code
    return exit_code


async def _change(api: Api, agent_id: str, change: Change) -> Outcome:
    try:
        document = await api.post(agent_path(agent_id, change.verb), wait_s=change.wait_s)
        result = understood(ChangeResult, document)
    except AgentctlError as error:
        whose = f"{agent_id}: " if agent_id else ""
        return Outcome(words=f"{whose}{error.message}", exit_code=error.exit_code, document=error.problem)
    words, exit_code = _judged(result, change)
    return Outcome(words=f"{agent_id}: {words}", exit_code=exit_code, document=document)


def _judged(result: ChangeResult, change: Change) -> tuple[str, ExitCode]:
    if result.done:
        faulty = "; its package cannot be taken as it is now: `agentctl packages`" if result.agent.faults else ""
        return f"{change.wanted}{_pids(result.agent)}{faulty}", ExitCode.OK
    if not change.wait_s:
        return f"{change.verb} accepted", ExitCode.OK
    behind = [instance for instance in result.agent.instances if instance.status != change.wanted]
    states = ", ".join(f"{instance.id} is {instance.status} ({instance.reason})" for instance in behind)
    has_given_up = change.wanted == "running" and {instance.status for instance in behind} == {_GIVEN_UP}
    return f"not {change.wanted}{'' if has_given_up else ' yet'}{f': {states}' if states else ''}", ExitCode.NOT_DONE


def _pids(agent: AgentView) -> str:
    pids = terminal.pids(terminal.running(agent))
    return "" if pids is None else f" (pid {pids})"


def _print(outcome: Outcome, *, as_json: bool) -> None:
    if as_json and outcome.document is not None:
        formats.print_json(outcome.document)
    if outcome.exit_code is not ExitCode.OK:
        terminal.complain(outcome.words)
    elif not as_json:
        terminal.out().print(terminal.text(outcome.words))
