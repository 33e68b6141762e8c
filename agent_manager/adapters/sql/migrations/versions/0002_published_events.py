"""The number under which an event was published, and which versions can work with the schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
oldest_compatible = "0001"


def upgrade() -> None:
    """Add a column that older versions need not know, and the table that says how old they may be."""
    op.add_column("events", sa.Column("number", sa.BigInteger()))
    op.create_index("ix_events_number", "events", ["number"], unique=True)
    unpublished = sa.text("number IS NULL")
    op.create_index(
        "ix_events_unpublished", "events", ["sequence"], postgresql_where=unpublished, sqlite_where=unpublished
    )
    op.create_table("agent_manager_compatibility", sa.Column("oldest", sa.String(), nullable=False))


def downgrade() -> None:
    """Forget both."""
    op.drop_table("agent_manager_compatibility")
    op.drop_index("ix_events_unpublished", "events")
    op.drop_index("ix_events_number", "events")
    op.drop_column("events", "number")
