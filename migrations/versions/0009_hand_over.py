"""What waits for the relay is found by indexes; every queued job is handed over anew."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

BACKLOG = "status = 'queued' AND published_at IS NULL AND "
INDEXES = {
    "ix_jobs_backlog_runs": (
        ["queue", "tenant", "batch_id", "priority", "created_at", "id"],
        BACKLOG + "batch_id IS NOT NULL",
    ),
    "ix_jobs_backlog_alone": (["queue", "tenant", "priority", "created_at", "id"], BACKLOG + "batch_id IS NULL"),
    "ix_jobs_backlog_returned": (["queue", "priority", "created_at", "id"], BACKLOG + "attempt > 0"),
    "ix_jobs_handed": (["queue", "published_at"], "status = 'queued' AND published_at IS NOT NULL"),
    "ix_jobs_deleted": (["deleted_at"], "deleted_at IS NOT NULL"),
}


def upgrade() -> None:
    op.add_column("jobs", sa.Column("queued_at", sa.DateTime(timezone=True), nullable=True))
    # Until now the broker held the whole backlog, under keys that workers of this version do not read.
    op.execute("UPDATE jobs SET queued_at = published_at, published_at = NULL WHERE status = 'queued'")
    op.execute("DELETE FROM outbox USING jobs WHERE jobs.id = outbox.job_id AND jobs.status <> 'completed'")
    for name, (columns, where) in INDEXES.items():
        op.create_index(name, "jobs", columns, unique=False, postgresql_where=sa.text(where))


def downgrade() -> None:
    for name in INDEXES:
        op.drop_index(name, table_name="jobs")
    op.execute(
        "INSERT INTO outbox (job_id, queue, priority) SELECT id, queue, priority FROM jobs WHERE status = 'queued'"
    )
    op.drop_column("jobs", "queued_at")
