"""The store on SQL: tables, units of work over them, the SQLite engine with group commit, the schema's migrations.

Belongs here: everything that knows SQL or SQLAlchemy. Does not belong here: decisions about agents; Alembic, outside
`migration` and `migrations` (a manager starts without importing it).
"""
