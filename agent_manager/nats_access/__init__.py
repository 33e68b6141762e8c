"""How a program of ours reaches NATS: where, as whom, how protected, and how it stays connected.

Belongs here: what manager, management API, console and SDK have in common of this; it imports nothing of theirs.
Does not belong here: what is said over the connection, and the making of users and their permissions.
"""
