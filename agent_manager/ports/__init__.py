"""What the services need from the world, as Protocols over domain types.

Does not belong here: implementations, third-party types.
"""
