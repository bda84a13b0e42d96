"""Sums of each day of the cache, which outlive the rows that they sum up."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

WHOLE = (
    "decisions",
    "hits",
    "steps_saved",
    "inserts",
    "evictions",
    "refusals",
    "videos",
    "bytes_read",
    "bytes_written",
)


def upgrade() -> None:
    op.create_table(
        "cache_days",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("namespace_id", sa.Uuid(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in WHOLE),
        sa.Column("by_reason", JSONB(), nullable=False),
        sa.Column("gpu_seconds", sa.Float(), nullable=False),
        sa.Column("seconds_saved", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["namespace_id"], ["namespaces.id"], name="fk_cache_days_namespace_id_namespaces"),
        sa.PrimaryKeyConstraint("day", "namespace_id", name="pk_cache_days"),
    )


def downgrade() -> None:
    op.drop_table("cache_days")
