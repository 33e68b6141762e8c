"""The routes: query parameters in, one operation of the wire, its result out.

Belongs here: one module per resource. Does not belong here: logic, talking to the bus, error bodies.
"""
