"""agent-manager: a NATS-driven, distributed supervisor for agents.

Nothing is imported here: each program imports only the layer it needs, and the launcher nothing but itself.
"""
