"""The wire: subjects, messages, operations, errors and permissions, shared by every side.

Belongs here: what two programs must agree on. Does not belong here: connections, handlers, anything of one side only.
"""
