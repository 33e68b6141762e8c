"""What the shell offers after a tab: ids the running API knows. Without an answer in time, nothing, and no word."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import typer

from agent_manager.cli.ctl.address import Place
from agent_manager.cli.ctl.api import Api, connected_to, understood
from agent_manager.cli.ctl.failures import AgentctlError
from agent_manager.protocol.operations import MAX_PAGE_SIZE
from agent_manager.protocol.resources import AgentList, InstanceList

PATIENCE_S = 2.0
"""How long a person who has pressed tab waits at most."""


def agent_ids(context: typer.Context, incomplete: str) -> list[str]:
    """Agents whose id begins so, without those that stand there already."""
    named = context.params.get("agent_ids") or ()
    return [found for found in _asked(context, _agents) if found.startswith(incomplete) and found not in named]


def instance_ids(context: typer.Context, incomplete: str) -> list[str]:
    """Instances whose id begins so. Of every agent: behind an option without its value no argument is known yet."""
    return [found for found in _asked(context, _instances) if found.startswith(incomplete)]


def _asked(context: typer.Context, ask: Callable[[Api], Awaitable[list[str]]]) -> list[str]:
    given = context.find_root().params
    place = Place(api_url=given.get("api_url"), data_dir=given.get("data_dir"))
    try:
        return asyncio.run(_within_patience(place, ask))
    except (AgentctlError, TimeoutError):
        return []


async def _within_patience(place: Place, ask: Callable[[Api], Awaitable[list[str]]]) -> list[str]:
    async with asyncio.timeout(PATIENCE_S), connected_to(place.find_api()) as api:
        return await ask(api)


async def _agents(api: Api) -> list[str]:
    document = await api.get("/agents", {"page_size": MAX_PAGE_SIZE}, patience_s=0.0)
    return [agent.id for agent in understood(AgentList, document).items]


async def _instances(api: Api) -> list[str]:
    document = await api.get("/instances", {"page_size": MAX_PAGE_SIZE}, patience_s=0.0)
    return [instance.id for instance in understood(InstanceList, document).items]
