"""Where the id of a line's earlier video leads to once the line is made again."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "retried_jobs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_retried_jobs"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_retried_jobs_job_id", ondelete="CASCADE"),
    )
    op.create_index("ix_retried_jobs_job", "retried_jobs", ["job_id"])


def downgrade() -> None:
    op.drop_table("retried_jobs")
