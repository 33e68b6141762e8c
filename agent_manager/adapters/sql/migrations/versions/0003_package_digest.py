"""The digest of a package's present files."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")

revision = "0003"
down_revision = "0002"
oldest_compatible = "0001"


def upgrade() -> None:
    """Add the column; NULL is a digest nobody has made yet."""
    op.add_column("packages", sa.Column("digest", TEXT))


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("packages", "digest")
