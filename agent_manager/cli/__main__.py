"""`python -P -m agent_manager.cli`: the same as the script `agent-manager`."""

from agent_manager.cli.agent_manager import main

if __name__ == "__main__":
    main()
