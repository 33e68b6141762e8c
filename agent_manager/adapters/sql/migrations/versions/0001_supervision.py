"""Packages, agents and their placements, instances as observed, exits, events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
oldest_compatible = "0001"

TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    """Make the tables."""
    _packages()
    _agents()
    _instances()
    _exits()
    _events()


def downgrade() -> None:
    """Drop the tables, with all that is in them."""
    for table in ("events", "exits", "instances", "placements", "agents", "packages"):
        op.drop_table(table)


def _packages() -> None:
    op.create_table(
        "packages",
        sa.Column("node_id", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("path", TEXT, nullable=False),
        sa.Column("agent_id", TEXT),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.Column("spec", sa.JSON()),
        sa.Column("faults", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("node_id", "name", name="pk_packages"),
    )


def _agents() -> None:
    op.create_table(
        "agents",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("package", TEXT, nullable=False),
        sa.Column("node_id", TEXT, nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("lifecycle", TEXT, nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.Column("available", sa.Boolean(), nullable=False),
        sa.Column("replicas", sa.Integer(), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("start_serial", sa.Integer(), nullable=False),
        sa.Column("restart_serial", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_agents"),
    )
    op.create_table(
        "placements",
        sa.Column("agent_id", TEXT, nullable=False),
        sa.Column("ordinal", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("node_id", TEXT, nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("agent_id", "ordinal", name="pk_placements"),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name="fk_placements_agent_id", ondelete="CASCADE"),
    )


def _instances() -> None:
    op.create_table(
        "instances",
        sa.Column("agent_id", TEXT, nullable=False),
        sa.Column("ordinal", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("node_id", TEXT, nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("launch_id", TEXT),
        sa.Column("pid", sa.Integer()),
        sa.Column("incarnation", sa.Integer(), nullable=False),
        sa.Column("restarts", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.Float()),
        sa.Column("last_heartbeat", sa.Float()),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("agent_id", "ordinal", name="pk_instances"),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name="fk_instances_agent_id", ondelete="CASCADE"),
    )


def _exits() -> None:
    op.create_table(
        "exits",
        sa.Column("launch_id", TEXT, nullable=False),
        sa.Column("agent_id", TEXT, nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("node_id", TEXT, nullable=False),
        sa.Column("incarnation", sa.Integer(), nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("launch_id", name="pk_exits"),
    )
    op.create_index("ix_exits_agent_id_at", "exits", ["agent_id", "at"])


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("type", TEXT, nullable=False),
        sa.Column("agent_id", TEXT, nullable=False),
        sa.Column("instance_id", TEXT),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("message", TEXT, nullable=False),
        sa.Column("actor", TEXT),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_events"),
        sqlite_autoincrement=True,
    )
