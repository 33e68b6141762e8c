"""`agent-manager doctor`: looks at everything a node needs and says what is wrong and how to mend it.

Belongs here: checks, each of one thing, that only look. Does not belong here: mending; what any part of the node needs
while it works.
"""
