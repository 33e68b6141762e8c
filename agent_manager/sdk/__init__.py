"""What an agent's author imports: `from agent_manager.sdk import Agent`.

Belongs here: one launch seen from the inside (its connection, heartbeats, commands, metrics, start and stop).
Does not belong here: anything of the manager's side; of this project only `agent_manager.protocol` is imported.
"""

from agent_manager.protocol.errors import ErrorCode
from agent_manager.sdk.agent import Agent
from agent_manager.sdk.errors import AgentError, CommandError, DefinitionError

__all__ = ["Agent", "AgentError", "CommandError", "DefinitionError", "ErrorCode"]
