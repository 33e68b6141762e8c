"""A greeter that shows every hook. Keep what you need: none of them has to be there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from agent_manager.sdk import Agent, CommandError

log = logging.getLogger("greeter")
agent = Agent(
    max_concurrent_commands=64,  # more at once are refused as busy
    stop_grace_s=3.0,  # how long running commands may go on after SIGTERM
    metrics_interval_s=5.0,  # between two reports of metrics that changed
)


@agent.on_start
async def start() -> None:
    """Open what you need. Until this returns the agent is `starting` and takes no commands of its own."""
    log.info("%s starts with %s", agent.instance_id, dict(agent.config))


@agent.on_stop
async def stop() -> None:
    """Close it again. Every command has ended by now."""
    log.info("%s stops", agent.instance_id)


@agent.on_config
def check_config(config: Mapping[str, Any]) -> None:
    """Look at a new configuration before `agent.config` becomes it; raise to keep the present one."""
    if not isinstance(config.get("greeting"), str):
        raise CommandError("config.greeting must be a string")


@agent.health
async def health() -> dict[str, Any]:
    """Say how you are: True, False, an exception, or a mapping with details."""
    return {"healthy": True, "greeting": agent.config["greeting"]}


@agent.background
async def remind() -> None:
    """Work of your own, from after `on_start` until the end. An exception here ends the agent, to be restarted."""
    while True:
        await asyncio.sleep(agent.config["interval_s"])
        agent.metrics.increment("reminders")


@agent.command("greet")
async def greet(params: dict[str, Any]) -> dict[str, Any]:
    """On the event loop: await what takes time, and never block."""
    if "name" not in params:
        raise CommandError("params.name is missing", detail={"field": "name"})
    agent.metrics.increment("greetings")
    return {"text": f"{agent.config['greeting']}, {params['name']}!"}


@agent.command("shout")
def shout(params: dict[str, Any]) -> dict[str, Any]:
    """A plain function runs in a thread of its own and may block."""
    return {"text": str(params.get("text", "")).upper()}


if __name__ == "__main__":
    agent.run()
