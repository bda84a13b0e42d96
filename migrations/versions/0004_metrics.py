"""Decisions and measured attempts."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "lookups",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("namespace_id", sa.Uuid(), nullable=False),
        sa.Column("entities", JSONB(), nullable=False),
        sa.Column("neighbours", JSONB(), nullable=False),
        sa.Column("settings", JSONB(), nullable=False),
        sa.Column("plan", JSONB(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("occupancy", JSONB(), nullable=False),
        sa.Column("timings", JSONB(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_lookups_job_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["namespace_id"], ["namespaces.id"], name="fk_lookups_namespace_id"),
        sa.PrimaryKeyConstraint("id", name="pk_lookups"),
        sa.UniqueConstraint("job_id", "fence", name="uq_lookups_job_id_fence"),
    )
    op.create_index("ix_lookups_namespace", "lookups", ["namespace_id", "id"], unique=False)
    op.create_table(
        "job_metrics",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("namespace_id", sa.Uuid(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("entry_id", sa.Uuid(), nullable=True),
        sa.Column("num_steps", sa.Integer(), nullable=True),
        sa.Column("model_evaluations", sa.Float(), nullable=True),
        sa.Column("queue_wait_s", sa.Float(), nullable=True),
        sa.Column("stage_s", JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("gpu_seconds", sa.Float(), nullable=True),
        sa.Column("seconds_saved", sa.Float(), nullable=True),
        sa.Column("bytes_read", sa.BigInteger(), nullable=True),
        sa.Column("bytes_written", sa.BigInteger(), nullable=True),
        sa.Column("peak_memory", sa.BigInteger(), nullable=True),
        sa.Column("versions", JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["namespace_id"], ["namespaces.id"], name="fk_job_metrics_namespace_id"),
        sa.PrimaryKeyConstraint("id", name="pk_job_metrics"),
        sa.UniqueConstraint("job_id", "attempt", name="uq_job_metrics_job_id_attempt"),
    )
    op.create_index("ix_job_metrics_namespace", "job_metrics", ["namespace_id", "path", "id"], unique=False)


def downgrade() -> None:
    op.drop_table("job_metrics")
    op.drop_table("lookups")
