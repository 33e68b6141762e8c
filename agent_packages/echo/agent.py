from agent_manager.sdk import Agent

agent = Agent()


@agent.command("echo")
async def echo(params: dict[str, object]) -> dict[str, object]:
    return params


agent.run()
