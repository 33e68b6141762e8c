"""The settings of the manager and its node: one tree, loaded once, each component given only its group.

`docs/reference/settings.md` and `config/agent_manager.yaml` are generated from it.
"""
