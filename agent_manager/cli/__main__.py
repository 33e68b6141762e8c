"""`python -P -m agent_manager.cli`: the same as the script `agent-manager`."""

from agent_manager.cli.programs import agent_manager

if __name__ == "__main__":
    agent_manager()
