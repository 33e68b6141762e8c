from typing import Any

from agent_manager.sdk import Agent

agent = Agent()


@agent.command("echo")
async def echo(params: dict[str, Any]) -> dict[str, Any]:
    return params


agent.run()
