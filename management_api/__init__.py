"""The management API: HTTP for people and tools, turned into requests on the bus.

Belongs here: routes, problem details, what guards them, the connection to the bus. Does not belong here: decisions
about agents, the manager's services or database; only the wire is shared.
"""
