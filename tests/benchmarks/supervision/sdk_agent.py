"""An agent of the SDK that does nothing but live, and say so every five seconds."""

from agent_manager.sdk import Agent

Agent().run()
