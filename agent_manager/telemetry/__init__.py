"""How our programs tell of themselves: log lines, spans, definitions of metrics.

Belongs here: what the manager and the management API share to be observed. Does not belong here: which metrics there
are (each program has its own), decisions, anything that supervises. Of this project only `agent_manager.protocol` is
imported.
"""
