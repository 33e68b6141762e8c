"""The programs: `agent-manager`, which runs a node, and `agentctl`, the client of its users.

Belongs here: arguments, output for people, exit codes. Does not belong here: what the programs do (bootstrap, the API).
"""
