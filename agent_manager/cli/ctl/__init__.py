"""What `agentctl` is made of: finding the API, asking it, showing the answers.

Belongs here: a client of the management API over HTTP. Does not belong here: anything of the manager but the wire.
"""
