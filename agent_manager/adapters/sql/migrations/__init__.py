"""The schema's history, as Alembic scripts.

Belongs here: `env`, and in `versions` one file per change, written out in full. Does not belong here: anything that
reads `tables`, which tells only what the schema is today.
"""
