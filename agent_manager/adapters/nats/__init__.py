"""NATS: the connection, what is said over it, identities, and the embedded server.

Does not belong here: what arrives from others as a request (transport).
"""
