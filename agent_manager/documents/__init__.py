"""Documents that people write (manifests, settings): strict YAML with the line of every key, faults in words.

Belongs here: reading, and saying what is wrong and where. Does not belong here: what any one document may hold, and
anything else of ours (every side may import this).
"""
