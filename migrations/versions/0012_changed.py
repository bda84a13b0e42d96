"""Which transaction last wrote a job, so that whoever follows jobs reads what changed and nothing else."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # two steps: with the volatile default in one, Postgres would write every row anew
    op.add_column("jobs", sa.Column("changed", sa.BigInteger(), server_default="0", nullable=False))
    op.alter_column("jobs", "changed", server_default=sa.text("(pg_current_xact_id()::text)::bigint"))
    op.create_index("ix_jobs_changed", "jobs", ["changed"])


def downgrade() -> None:
    op.drop_index("ix_jobs_changed", "jobs")
    op.drop_column("jobs", "changed")
