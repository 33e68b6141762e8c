"""What the product decides, as pure values and functions.

Belongs here: frozen values, state machines, policies. Does not belong here: input and output, clocks, randomness,
third-party packages. Time and chance are arguments; a decision carries its reason.
"""
