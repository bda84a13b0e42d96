"""Lines are known by what they ask for, so that a changed list runs only what is new."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("line", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("line_key", sa.Text(), nullable=True))
    op.create_index(
        "ix_jobs_line_key", "jobs", ["tenant", "line_key"], postgresql_where=sa.text("line_key IS NOT NULL")
    )
    op.add_column("batches", sa.Column("series", sa.Text(), nullable=True))
    op.create_index(
        "ix_batches_series", "batches", ["tenant", "series"], postgresql_where=sa.text("series IS NOT NULL")
    )
    op.create_table(
        "reused_lines",
        sa.Column("batch_id", sa.Uuid(), nullable=False),
        sa.Column("custom_id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("line", sa.Text(), nullable=True),
        sa.Column("request_hash", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["batches.id"], name="fk_reused_lines_batch_id_batches", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_reused_lines_job_id_jobs", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("batch_id", "custom_id", name="pk_reused_lines"),
        sa.UniqueConstraint("batch_id", "job_id", name="uq_reused_lines_batch_id_job_id"),
    )
    op.create_index("ix_reused_lines_job", "reused_lines", ["job_id"])


def downgrade() -> None:
    op.drop_table("reused_lines")
    op.drop_index("ix_batches_series", "batches")
    op.drop_column("batches", "series")
    op.drop_index("ix_jobs_line_key", "jobs")
    op.drop_column("jobs", "line_key")
    op.drop_column("jobs", "line")
