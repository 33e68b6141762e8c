"""NATS endpoints: decode, call a service, reply.

Does not belong here: logic. What a request means is decided by the service it calls.
"""
