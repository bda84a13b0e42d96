"""When a job is cancelled if it has not ended."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("cancel_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_jobs_cancel_at",
        "jobs",
        ["cancel_at"],
        postgresql_where=sa.text("cancel_at IS NOT NULL AND status IN ('queued', 'in_progress')"),
    )


def downgrade() -> None:
    op.drop_index("ix_jobs_cancel_at", "jobs")
    op.drop_column("jobs", "cancel_at")
