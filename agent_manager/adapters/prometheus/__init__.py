"""The manager's metrics, as Prometheus scrapes them.

Belongs here: which metrics there are, counting what is observed, reading a census, the listener. Does not belong here:
what anybody does about a figure.
"""
