"""Settings in layers: a YAML file, `.env`, environment variables, flags; each value with the place it came from.

Belongs here: what is the same for every program of ours. Does not belong here: any one program's settings; anything
else of ours but `documents` (every side may import this).
"""
