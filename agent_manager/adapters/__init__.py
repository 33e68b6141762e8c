"""Implementations of the ports: database, bus, launcher, packages, operating system.

Belongs here: everything that talks to something outside. Does not belong here: decisions.
"""
