"""Use cases: what the manager does, over the ports.

Belongs here: orchestration of domain decisions and ports, the reconciler, supervision. Does not belong here: decisions
(domain), formats and connections (transport, adapters), third-party packages.
"""
