"""The init of a node: it owns every process and does almost nothing else. `docs/launcher.md` is its contract.

Here belongs what must go on while everything else is being killed, upgraded or unreachable: starting processes,
learning of their exits, killing what is left of them, moving their output into files, restarting the node's own
services. Here does not belong: any policy about agents, the bus, the database, third-party packages, or another module
of the project. There is one thread and one event loop, and nothing in it waits for a file, a child or a reader. One
module is in C and may be missing (`linux.vfork`).
"""
